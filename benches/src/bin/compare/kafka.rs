//! Kafka's side: its own tools, with the batching and the window of Highwater's client.

use highwater_benches::BenchError;

use crate::contender::Run;
use crate::program::Program;

/// See the module.
pub(crate) struct Kafka {
    pub(crate) tools: Program,
    pub(crate) bootstrap: String,
    pub(crate) replicas: u32,
    /// Whether each batch is synced before it is acknowledged.
    pub(crate) flushes: bool,
    /// Bytes of values in one run.
    pub(crate) bytes: usize,
    pub(crate) processes: Vec<u32>,
}

impl Kafka {
    pub(crate) fn create_topic(&self, size: usize) -> Result<(), BenchError> {
        let (topic, replicas) = (self.topic(size), self.replicas.to_string());
        let mut arguments =
            vec!["topics", "--bootstrap-server", &self.bootstrap, "--create", "--topic", &topic];
        arguments.extend(["--partitions", "1", "--replication-factor", &replicas]);
        if self.flushes {
            arguments.extend(["--config", "flush.messages=1"]);
        }
        self.tools.run(arguments).map(drop)
    }

    pub(crate) fn delete_topic(&self, size: usize) -> Result<(), BenchError> {
        let topic = self.topic(size);
        self.tools
            .run(["topics", "--bootstrap-server", &self.bootstrap, "--delete", "--topic", &topic])
            .map(drop)
    }

    pub(crate) fn produce(&self, size: usize) -> Result<Run, BenchError> {
        let records = self.bytes / size.max(1);
        let (topic, count, bytes) = (self.topic(size), records.to_string(), size.to_string());
        let bootstrap = format!("bootstrap.servers={}", self.bootstrap);
        let mut arguments = vec!["producer-perf", "--topic", &topic, "--num-records", &count];
        arguments.extend(["--record-size", &bytes, "--throughput", "-1", "--producer-props", &bootstrap]);
        arguments.extend(["batch.size=65536", "linger.ms=5", "acks=all"]);
        let output = self.tools.run(arguments)?;
        // The last line sums up; those before it have other numbers of records.
        let records_per_second = self.tools.number_after(&output, &format!("{records} records sent, "))?;
        Ok(Run { records, records_per_second })
    }

    fn topic(&self, size: usize) -> String {
        format!("compare-{size}{}", if self.flushes { "-flushed" } else { "" })
    }
}
