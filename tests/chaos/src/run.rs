//! One run: a cluster is born, works under load, suffers what the schedule says, heals after each fault, and is looked at
//! to the last record in the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use highwater_crash::CrashError;
use highwater_crash::faults::needs;
use highwater_crash::node::binary;
use highwater_types::Offset;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::account::{Account, Felt};
use crate::cluster::Cluster;
use crate::faults;
use crate::gaps::Gaps;
use crate::history::{History, Place, Promise};
use crate::readers::{self, Readers};
use crate::replicas;
use crate::schedule::{Bounds, Fault, FaultKind, Schedule};
use crate::topics::{self, TOPICS};
use crate::watcher::{Watcher, look};
use crate::workload::{Shared, Workload};

/// Everything works again within this time after a fault is gone, without anybody's help.
const HEALS_WITHIN: Duration = Duration::from_secs(30);
/// How long a cluster may take to be born, on a machine that does other things too.
const BORN_WITHIN: Duration = Duration::from_secs(60);
/// How long reading everything in the end may take.
const READ_WITHIN: Duration = Duration::from_secs(600);
/// How long the load lasts before the first fault.
const CALM: Duration = Duration::from_secs(2);
/// Room on each disk for a node at rest, and for each minute of the load.
const DISK_MIB: u64 = 640;
const DISK_MIB_PER_MINUTE: u64 = 60;

/// What a run is to do.
pub struct Plan {
    /// What decides the faults and the values.
    pub seed: u64,
    /// What may happen.
    pub kinds: Vec<FaultKind>,
    /// How long faults last.
    pub bounds: Bounds,
    /// How long faults are played; `None` is one round.
    pub minutes: Option<u64>,
    /// From the beginning of one fault to that of the next at least.
    pub every: Duration,
    /// The time between two records of one producer.
    pub period: Duration,
}

/// Runs it. What was found broken is in the account's verdict.
///
/// # Errors
/// When the machine refuses, or the cluster is never born.
pub async fn run(plan: &Plan, directory: &Path, say: impl Fn(&str)) -> Result<Account, CrashError> {
    let faketime = if plan.kinds.contains(&FaultKind::Clock) {
        Some(needs::faketime().map_err(CrashError::Broken)?)
    } else {
        None
    };
    let disk_mib = DISK_MIB + DISK_MIB_PER_MINUTE * plan.minutes.unwrap_or(1);
    let mut cluster = Cluster::make(directory, disk_mib, faketime.as_deref())?;
    cluster.start_all()?;
    topics::create(&cluster.client()?, BORN_WITHIN).await?;
    let shared = Arc::new(Shared {
        seed: plan.seed,
        history: Mutex::new(History::default()),
        gaps: Mutex::new(Gaps::default()),
    });
    let workload = Workload::start(|| cluster.client(), &shared, plan.period)?;
    let readers = Readers::start(|| cluster.client(), &shared)?;
    let watcher = Watcher::start(&shared);
    let mut run = Run { cluster, shared, felt: BTreeMap::new(), began: Instant::now() };
    run.heal("the birth").await?;
    run.cluster.pass(CALM).await?;
    say("the cluster is born and under load");
    let began = run.began;
    run.suffer(plan, &say).await?;
    let took = began.elapsed();
    workload.finish().await?;
    run.read_to_the_end().await?;
    drop((readers, watcher));
    let compared = run.stop().await?;
    let verdict = run.shared.history.lock().finish().clone();
    let gaps = run.shared.gaps.lock();
    for (kind, pause) in gaps.longest() {
        run.felt.entry(*kind).or_default().pause_max = *pause;
    }
    let release = binary()?.components().any(|part| part.as_os_str() == "release");
    let calm_max = gaps.longest_calm();
    Ok(Account { seed: plan.seed, took, release, felt: run.felt, calm_max, compared, verdict })
}

struct Run {
    cluster: Cluster,
    shared: Arc<Shared>,
    felt: BTreeMap<FaultKind, Felt>,
    began: Instant,
}

impl Run {
    /// Plays faults until the time is over, or one round of them.
    async fn suffer(&mut self, plan: &Plan, say: &impl Fn(&str)) -> Result<(), CrashError> {
        let schedule = Schedule::new(plan.seed, &plan.kinds, plan.bounds.clone());
        let round = schedule.round_len();
        for (number, fault) in schedule.enumerate() {
            let is_over = match plan.minutes {
                Some(minutes) => self.began.elapsed() >= Duration::from_secs(60 * minutes),
                None => number >= round,
            };
            if is_over {
                break;
            }
            let next = Instant::now() + plan.every;
            say(&self.play(&fault).await?);
            self.cluster.pass(next.saturating_duration_since(Instant::now())).await?;
            self.shared.gaps.lock().calm();
        }
        Ok(())
    }

    /// Plays one fault, and waits until everything works again. Says how it went.
    async fn play(&mut self, fault: &Fault) -> Result<String, CrashError> {
        let since = self.began.elapsed().as_secs();
        self.shared.gaps.lock().begin(fault.kind);
        let what = match faults::play(&mut self.cluster, fault).await {
            Ok(what) => what,
            // The run goes on: what else comes of it is worth knowing.
            Err(CrashError::Broken(what)) => {
                self.found(Promise::Heals, format!("after {since} s, {}: {what}", fault.kind));
                self.cluster.network.heal()?;
                self.cluster.start_all()?;
                what.lines().next().unwrap_or_default().to_owned()
            }
            Err(error) => return Err(error),
        };
        let healed = self.heal(&format!("after {since} s: {what}")).await?;
        let felt = self.felt.entry(fault.kind).or_default();
        felt.times += 1;
        felt.heal_max = felt.heal_max.max(healed);
        Ok(format!("{since:5} s  {:13} {what}; healed within {:.1} s", fault.kind, healed.as_secs_f64()))
    }

    /// Waits until every node serves, every partition acknowledges what is sent from now on, and the readers have got all
    /// that was there now. Returns how long that took.
    async fn heal(&mut self, after: &str) -> Result<Duration, CrashError> {
        let began = Instant::now();
        let wanted: Vec<(Place, Offset)> = {
            let history = self.shared.history.lock();
            Place::all().map(|place| (place, history.floor(place))).collect()
        };
        loop {
            self.cluster.pass(Duration::from_millis(20)).await?;
            let silent = self.shared.gaps.lock().silent_since(began);
            let behind = readers::behind(&self.shared, &wanted);
            let mut missing: Vec<String> =
                silent.iter().map(|place| format!("{} acknowledges nothing", place.name())).collect();
            missing.extend(behind);
            if missing.is_empty() {
                missing.extend(self.cluster.not_ready().await);
            }
            for ended in self.cluster.take_unexpected() {
                self.found(Promise::Heals, format!("{after}: {ended}"));
            }
            if missing.is_empty() {
                return Ok(began.elapsed());
            }
            if began.elapsed() >= HEALS_WITHIN {
                missing.extend(self.cluster.not_ready().await);
                self.found(Promise::Heals, format!("{after}: {}", missing.join("\n    ")));
                return Ok(began.elapsed());
            }
        }
    }

    /// Reads everything once more, and lets the other readers get to the end too.
    async fn read_to_the_end(&mut self) -> Result<(), CrashError> {
        let client = self.cluster.client()?;
        if let Err(error) = readers::read_all(&client, &self.shared, READ_WITHIN).await {
            self.found(Promise::Heals, format!("in the end: {error}"));
        }
        for topic in 0..TOPICS.len() {
            look(&client, topic, &self.shared).await?;
        }
        let wanted: Vec<(Place, Offset)> = {
            let history = self.shared.history.lock();
            Place::all().map(|place| (place, history.floor(place))).collect()
        };
        let deadline = Instant::now() + HEALS_WITHIN;
        loop {
            let behind = readers::behind(&self.shared, &wanted);
            if behind.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                self.found(Promise::Lost, format!("readers do not see the end: {}", behind.join(", ")));
                return Ok(());
            }
            self.cluster.pass(Duration::from_millis(20)).await?;
        }
    }

    /// Stops every node in good order, inspects its data, and compares the replicas. Returns how much was compared.
    async fn stop(&mut self) -> Result<u64, CrashError> {
        let mut directories = Vec::new();
        for machine in &mut self.cluster.machines {
            machine.held = true;
            let status = machine.node.stop().await?;
            let inspected = machine.node.inspect();
            let mut wrong = Vec::new();
            if !status.success() {
                wrong.push(format!("node {} was stopped and ended with {status}", machine.id));
            }
            wrong.extend(inspected.err().map(|error| format!("node {}: {error}", machine.id)));
            for what in wrong {
                self.shared.history.lock().found(Promise::Heals, what);
            }
            directories.push((machine.id, machine.node.data().to_owned()));
        }
        let comparison = replicas::compare(&directories)?;
        if comparison.compared == 0 {
            self.found(
                Promise::Replicas,
                "no batch is on two replicas, so that none could be compared".to_owned(),
            );
        }
        for difference in comparison.differences {
            self.found(Promise::Replicas, difference);
        }
        Ok(comparison.compared)
    }

    fn found(&self, promise: Promise, what: String) {
        self.shared.history.lock().found(promise, what);
    }
}
