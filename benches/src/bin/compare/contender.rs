//! Who takes part, and what each is asked to do.

use highwater_benches::BenchError;

use crate::highwater::Highwater;
use crate::kafka::Kafka;
use crate::nats::Nats;

/// How records are handed to a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pacing {
    /// As fast as it takes them, `bytes` of values in all: batches of 64 KiB, five in flight.
    Batches { bytes: usize },
    /// So many `records` with at most `open` without an acknowledgement.
    Singles { records: usize, open: usize },
}

/// Which row of the table a run belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Highwater,
    HighwaterSingles,
    Kafka,
    KafkaFlushing,
    Nats,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Highwater => "Highwater, fsync",
            Self::HighwaterSingles => "Highwater, fsync, single records",
            Self::Kafka => "Kafka, acks=all",
            Self::KafkaFlushing => "Kafka, acks=all, flush.messages=1",
            Self::Nats => "NATS, single records",
        }
    }
}

/// What a run did.
pub(crate) struct Run {
    pub(crate) records: usize,
    pub(crate) records_per_second: f64,
}

/// A server, and one way to load it.
pub(crate) enum Contender {
    Highwater(Highwater),
    Kafka(Kafka),
    Nats(Nats),
}

impl Contender {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Highwater(highwater) => highwater.kind(),
            Self::Kafka(kafka) if kafka.flushes => Kind::KafkaFlushing,
            Self::Kafka(_) => Kind::Kafka,
            Self::Nats(_) => Kind::Nats,
        }
    }

    /// The server's processes.
    pub(crate) fn processes(&self) -> &[u32] {
        match self {
            Self::Highwater(highwater) => &highwater.processes,
            Self::Kafka(kafka) => &kafka.processes,
            Self::Nats(nats) => &nats.processes,
        }
    }

    /// Creates what the runs with values of this size write to.
    pub(crate) async fn prepare(&self, size: usize) -> Result<(), BenchError> {
        match self {
            Self::Highwater(highwater) => highwater.create_topic(size).await,
            Self::Kafka(kafka) => kafka.create_topic(size),
            // Each of its runs makes its own stream.
            Self::Nats(_) => Ok(()),
        }
    }

    /// One run with values of this size.
    pub(crate) async fn run(&self, size: usize) -> Result<Run, BenchError> {
        match self {
            Self::Highwater(highwater) => highwater.produce(size).await,
            Self::Kafka(kafka) => kafka.produce(size),
            Self::Nats(nats) => nats.publish(size),
        }
    }

    /// Removes what the runs have written.
    pub(crate) async fn clear(&self, size: usize) -> Result<(), BenchError> {
        match self {
            Self::Highwater(highwater) => highwater.delete_topic(size).await,
            Self::Kafka(kafka) => kafka.delete_topic(size),
            Self::Nats(_) => Ok(()),
        }
    }
}
