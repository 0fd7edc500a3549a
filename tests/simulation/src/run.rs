//! One run of one seed: a cluster is born, loaded, hurt, healed and checked.

use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::watch;
use turmoil::Builder;

use crate::clients::{Load, Phase, Shared, groups};
use crate::driver::{Clients, Driver, LATENCY_MAX, SYNC_MS_MAX};
use crate::faults::{Kind, Schedule};
use crate::history::Figures;
use crate::machine::{Life, Machine, START_WITHIN};
use crate::replicas;
use crate::trace::Trace;

/// The steps in which time passes.
const TICK: Duration = Duration::from_millis(2);
/// How long a cluster may take to be born.
const BORN_WITHIN: Duration = Duration::from_secs(60);
/// How long everything may take to be well again after the last fault.
const HEALED_WITHIN: Duration = Duration::from_secs(30);
/// Lines of the trace that a failure shows.
const TAIL: usize = 40;

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    /// What the seed draws when absent.
    pub(crate) nodes: Option<u64>,
    /// Only these faults; all kinds that the seed draws when empty.
    pub(crate) faults: Vec<Kind>,
    /// The bug to put in.
    pub(crate) mutant: Option<String>,
    /// Shows the trace as it grows.
    pub(crate) echoes: bool,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) figures: Figures,
    pub(crate) virtual_ms: u128,
    pub(crate) digest: u64,
    pub(crate) violations: Vec<String>,
    /// The end of the trace.
    pub(crate) tail: Vec<String>,
}

/// Runs a seed.
pub(crate) fn run(options: &Options) -> Outcome {
    let trace = Arc::new(Trace::new(options.echoes));
    let panics = collect_panics(&trace);
    let seed = options.seed;
    let (phase, phases) = watch::channel(Phase::Prepare);
    let schedule = Schedule::draw(seed, &options.faults);
    // A topic of one replica shows that an emptied disk is not taken for a whole one. On a damaged one it would wait for a person.
    let has_lone = schedule.kinds.contains(&Kind::EmptyDisk) && !schedule.kinds.contains(&Kind::BitFlip);
    let load = Load::draw(seed, options.nodes, has_lone);
    let shared = Arc::new(Shared::new(seed, load, phases, Arc::clone(&trace)));
    trace.note_at(Duration::ZERO, format_args!("seed {seed}: {:?} {schedule:?}", shared.load));
    let length = schedule.length;
    let mut driver = build(options, &shared, schedule, &trace);
    let mut violations = Vec::new();
    if let Err(violation) = live(&mut driver, &shared, &phase, length) {
        violations.push(violation);
    }
    let virtual_ms = driver.now().as_millis();
    trace.note_at(driver.now(), disks(&driver.machines));
    drop(driver);
    violations.extend(shared.history.violations());
    violations.extend(panics.lock().drain(..).map(|panic| format!("panic: {panic}")));
    Outcome {
        figures: shared.history.figures(),
        virtual_ms,
        digest: trace.digest(),
        violations,
        tail: trace.tail(TAIL),
    }
}

fn build<'a>(options: &Options, shared: &Arc<Shared>, schedule: Schedule, trace: &Arc<Trace>) -> Driver<'a> {
    let mut sim = Builder::new()
        .rng_seed(options.seed)
        .epoch(SystemTime::UNIX_EPOCH)
        .tick_duration(TICK)
        .simulation_duration(Duration::from_secs(3600))
        .min_message_latency(TICK)
        .max_message_latency(LATENCY_MAX)
        .tcp_capacity(4096)
        .enable_random_order()
        .build();
    let machine = |node| Arc::new(Machine::new(options.seed, node, Arc::clone(trace)));
    let machines: Vec<_> = (1..=shared.load.nodes).map(machine).collect();
    for machine in &machines {
        machine.disk.set_sync_delay(0..SYNC_MS_MAX);
        let software = Arc::clone(machine);
        sim.host(machine.name.as_str(), move || {
            let machine = Arc::clone(&software);
            async move {
                machine.run().await;
                Ok(())
            }
        });
    }
    let clients: Vec<String> = (0..2).map(|number| format!("clients{number}")).collect();
    for (number, name) in (0..).zip(&clients) {
        let software = Arc::clone(shared);
        sim.host(name.as_str(), move || {
            let shared = Arc::clone(&software);
            async move {
                shared.run(number).await;
                Ok(())
            }
        });
    }
    let members: Vec<String> = (0..shared.load.members).map(groups::name_of).collect();
    for (number, name) in (0..).zip(&members) {
        let software = Arc::clone(shared);
        let lives = Arc::new(AtomicU32::new(0));
        sim.host(name.as_str(), move || {
            let (shared, life) = (Arc::clone(&software), lives.fetch_add(1, Ordering::Relaxed));
            async move {
                groups::run(shared, number, life).await;
                Ok(())
            }
        });
    }
    let crashed = Arc::clone(shared);
    let crashed = Box::new(move |member: &str| crashed.group.crashed(member));
    let others = Clients { names: clients, members, crashed };
    Driver::new(sim, machines, others, (options.seed, schedule), Arc::clone(trace))
}

/// # Errors
/// The promise that was broken.
fn live(
    driver: &mut Driver<'_>,
    shared: &Shared,
    phase: &watch::Sender<Phase>,
    length: Duration,
) -> Result<(), String> {
    let is_prepared = || shared.progress.lock().is_prepared;
    until(driver, BORN_WITHIN, |_| Ok(is_prepared())).map_err(|what| format!("birth: {what}"))?;
    phase.send_replace(Phase::Load);
    driver.begin_faults();
    let end = driver.now() + length;
    while driver.now() < end && shared.history.violations().is_empty() {
        driver.step().map_err(|error| format!("the simulation ended: {error}"))?;
    }
    driver.heal();
    *shared.emptied.lock() = driver.emptied().map(|index| driver.machines[index].node.0);
    phase.send_replace(Phase::Settle);
    let is_settled = || shared.progress.lock().is_settled;
    until(driver, HEALED_WITHIN, |driver| {
        let all_run = driver.machines.iter().all(|machine| machine.life() == Life::Running);
        if !is_settled() || !all_run {
            return Ok(false);
        }
        replicas::compare(&driver.machines, &shared.topic_ids.lock(), driver.damaged())
    })
    .map_err(|what| match what.starts_with("replicas") {
        true => what,
        false => format!("healing: {what}"),
    })
}

fn until(
    driver: &mut Driver<'_>,
    patience: Duration,
    is_done: impl Fn(&Driver<'_>) -> Result<bool, String>,
) -> Result<(), String> {
    let deadline = driver.now() + patience.min(START_WITHIN);
    loop {
        for _ in 0..10 {
            driver.step().map_err(|error| format!("the simulation ended: {error}"))?;
        }
        if is_done(driver)? {
            return Ok(());
        }
        if driver.now() > deadline {
            let lives: Vec<_> = driver.machines.iter().map(|machine| machine.life()).collect();
            return Err(format!("not within {patience:?}; nodes: {lives:?}"));
        }
    }
}

/// What the disks have come to, in a line.
fn disks(machines: &[Arc<Machine>]) -> String {
    let one = |machine: &Arc<Machine>| {
        let files = machine.disk.files();
        let bytes = files.iter().flat_map(|path| machine.disk.read_cached(path).unwrap_or_default());
        let digest = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        format!(
            "{}: {} operations, {} files, {digest:016x}",
            machine.name,
            machine.disk.op_count(),
            files.len()
        )
    };
    machines.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Every panic of a task from now on: the runtime keeps those to itself.
fn collect_panics(trace: &Arc<Trace>) -> Arc<Mutex<Vec<String>>> {
    let panics = Arc::new(Mutex::new(Vec::new()));
    let (collected, trace) = (Arc::clone(&panics), Arc::clone(trace));
    panic::set_hook(Box::new(move |info| {
        trace.note_at(Duration::ZERO, format_args!("panic: {info}"));
        collected.lock().push(info.to_string());
    }));
    panics
}
