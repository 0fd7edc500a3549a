//! Producers at a constant rate, and how each of their records ended.
//!
//! Every producer sends to every partition of its topics in turn. The patient ones must never see an error; a hasty one gives
//! up early, and so has records of which it does not know whether they are there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use highwater_client::{Client, ClientError, Delivery, Producer, ProducerConfig, ProducerRecord};
use highwater_crash::CrashError;
use highwater_crash::workload::RecordId;
use highwater_types::PartitionIndex;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::gaps::Gaps;
use crate::history::{History, Place, Promise};
use crate::topics::TOPICS;

/// How long a patient producer waits; longer than any fault.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a hasty one does.
const HASTE: Duration = Duration::from_secs(2);
/// Records of one producer in one partition that wait for their outcome at most: those of the longest fault, amply.
const WAITING_MAX: usize = 20_000;

/// What all parts of a run know of it.
pub struct Shared {
    /// What the values of records follow from.
    pub seed: u64,
    /// What was seen.
    pub history: Mutex<History>,
    /// How long nothing was acknowledged.
    pub gaps: Mutex<Gaps>,
}

/// What one producer is like.
#[derive(Debug, Clone, Copy)]
struct Kind {
    idempotent: bool,
    hasty: bool,
}

/// The producers; a record's producer is its place here.
const PRODUCERS: [Kind; 5] = [
    Kind { idempotent: true, hasty: false },
    Kind { idempotent: true, hasty: false },
    Kind { idempotent: true, hasty: true },
    Kind { idempotent: false, hasty: false },
    Kind { idempotent: false, hasty: true },
];

/// See the module.
pub struct Workload {
    stopping: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Result<(), CrashError>>>,
}

impl Workload {
    /// Starts all producers, each with a client of its own. Each sends a record in every `period`.
    ///
    /// # Errors
    /// When a client cannot be set up.
    pub fn start(
        client: impl Fn() -> Result<Client, CrashError>,
        shared: &Arc<Shared>,
        period: Duration,
    ) -> Result<Self, CrashError> {
        let stopping = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for (number, kind) in (0..).zip(PRODUCERS) {
            let config = ProducerConfig {
                delivery_timeout: if kind.hasty { HASTE } else { PATIENCE },
                idempotence: kind.idempotent,
                ..ProducerConfig::default()
            };
            let sender = Sender {
                number,
                kind,
                producer: client()?.producer(config)?,
                shared: Arc::clone(shared),
                stopping: Arc::clone(&stopping),
                period,
            };
            tasks.push(tokio::spawn(sender.run()));
        }
        Ok(Self { stopping, tasks })
    }

    /// Stops sending, and waits until every record has its outcome.
    ///
    /// # Errors
    /// When a producer failed.
    pub async fn finish(self) -> Result<(), CrashError> {
        self.stopping.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.map_err(|error| CrashError::Broken(error.to_string()))??;
        }
        Ok(())
    }
}

struct Sender {
    number: u32,
    kind: Kind,
    producer: Producer,
    shared: Arc<Shared>,
    stopping: Arc<AtomicBool>,
    period: Duration,
}

/// A record on its way.
struct Waiting {
    id: RecordId,
    sent: Instant,
    delivery: Delivery,
}

impl Sender {
    async fn run(self) -> Result<(), CrashError> {
        // A task for each partition, so that one that stands still does not hide what the others acknowledge.
        let (mut lanes, mut noting) = (BTreeMap::new(), Vec::new());
        let places: Vec<Place> =
            Place::all().filter(|place| TOPICS[place.topic].idempotent == self.kind.idempotent).collect();
        for place in &places {
            let (sent, waiting) = mpsc::channel(WAITING_MAX);
            lanes.insert(*place, sent);
            noting.push(tokio::spawn(note(*place, waiting, Arc::clone(&self.shared), self.kind)));
        }
        let mut next = Instant::now();
        for (number, place) in (0..).zip(places.iter().cycle()) {
            sleep_until(next).await;
            if self.stopping.load(Ordering::Relaxed) {
                break;
            }
            // What was missed is not made up for.
            next = Instant::now().max(next + self.period);
            let id = RecordId { producer: self.number, number };
            if let Some(waiting) = self.send(*place, id).await {
                // It is gone when noting failed, which its own end says.
                let _ = lanes[place].send(waiting).await;
            }
        }
        drop(lanes);
        for task in noting {
            task.await.map_err(|error| CrashError::Broken(error.to_string()))?;
        }
        Ok(())
    }

    async fn send(&self, place: Place, id: RecordId) -> Option<Waiting> {
        let record = ProducerRecord {
            partition: Some(PartitionIndex(place.partition)),
            ..ProducerRecord::value(id.value(self.shared.seed))
        };
        self.shared.history.lock().sending(id, place);
        let sent = Instant::now();
        match self.producer.send(TOPICS[place.topic].name, record).await {
            Ok(delivery) => Some(Waiting { id, sent, delivery }),
            Err(error) => {
                note_failure(&self.shared, self.kind, place, id, &error);
                None
            }
        }
    }
}

async fn note(place: Place, mut waiting: mpsc::Receiver<Waiting>, shared: Arc<Shared>, kind: Kind) {
    while let Some(Waiting { id, sent, delivery }) = waiting.recv().await {
        match delivery.wait().await {
            Ok(delivered) => {
                shared.history.lock().acked(id, delivered.offset);
                shared.gaps.lock().acked(place, sent, Instant::now());
            }
            Err(error) => note_failure(&shared, kind, place, id, &error),
        }
    }
}

fn note_failure(shared: &Shared, kind: Kind, place: Place, id: RecordId, error: &ClientError) {
    let unknown = match error {
        ClientError::DeliveryTimeout { outcome_unknown, .. } => *outcome_unknown,
        ClientError::OutcomeUnknown(_) => true,
        _ => false,
    };
    let mut history = shared.history.lock();
    history.failed(id, unknown);
    if !kind.hasty {
        history.found(Promise::Surfaced, format!("{}: {id:?} of a patient producer: {error}", place.name()));
    }
}
