//! The world of a run and what befalls it: machines, the ways between them, and the faults, each at its time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use turmoil::Sim;

use crate::chance::Chance;
use crate::faults::{Kind, Schedule};
use crate::links::Links;
use crate::machine::{Life, Machine};
use crate::trace::Trace;

/// How long a service manager waits before it starts a node again.
const START_AGAIN_MS: u64 = 500;
/// Latency of the network when nothing is wrong.
pub(crate) const LATENCY_MAX: Duration = Duration::from_millis(8);

/// What happens at its time.
#[derive(Debug, Clone)]
enum Act {
    /// The next fault.
    Fault,
    /// A member of a consumer group crashes.
    Crash,
    /// It is started again.
    Bounce(String),
    Start(usize),
    Cut(String, String),
    Mend(String, String),
    Hold(String, String),
    Release(String, String),
    Latency(String, String, Duration),
    FailRate(String, String, f64),
    SyncDelay(usize, u64),
    Capacity(usize, Option<u64>),
    /// The power goes if the disk's operations have not done it yet.
    CutIfAlive(usize),
}

/// The machines that are no nodes.
pub(crate) struct Clients {
    /// They live as long as the run.
    pub(crate) names: Vec<String>,
    /// Members of a consumer group, which crash.
    pub(crate) members: Vec<String>,
    /// Told that a member has.
    pub(crate) crashed: Box<dyn Fn(&str)>,
}

/// See the module.
pub(crate) struct Driver<'a> {
    pub(crate) sim: Sim<'a>,
    pub(crate) machines: Vec<Arc<Machine>>,
    clients: Clients,
    links: Links,
    chance: Chance,
    /// When members crash: without a word to the faults of nodes.
    members: Chance,
    schedule: Schedule,
    agenda: BTreeMap<(Duration, u64), Act>,
    entries: u64,
    is_faulty: bool,
    /// The machine that lost data for good: one is what a cluster of three survives.
    harmed: Option<usize>,
    /// Whether it was damaged, not emptied.
    is_damaged: bool,
    trace: Arc<Trace>,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(
        sim: Sim<'a>,
        machines: Vec<Arc<Machine>>,
        clients: Clients,
        (seed, schedule): (u64, Schedule),
        trace: Arc<Trace>,
    ) -> Self {
        Self {
            sim,
            machines,
            clients,
            links: Links::default(),
            chance: Chance::new(seed, "faults"),
            members: Chance::new(seed, "crashes"),
            schedule,
            agenda: BTreeMap::new(),
            entries: 0,
            is_faulty: false,
            harmed: None,
            is_damaged: false,
            trace,
        }
    }

    /// Simulated time since the beginning.
    pub(crate) fn now(&self) -> Duration {
        self.sim.elapsed()
    }

    /// From now on there are faults.
    pub(crate) fn begin_faults(&mut self) {
        self.is_faulty = true;
        if !self.schedule.kinds.is_empty() {
            self.after(0, Act::Fault);
        }
        if !self.clients.members.is_empty() {
            self.after(self.members.within(500..4000), Act::Crash);
        }
    }

    /// The machine whose data was damaged.
    pub(crate) fn damaged(&self) -> Option<usize> {
        self.harmed.filter(|_| self.is_damaged)
    }

    /// The machine whose disk was emptied.
    pub(crate) fn emptied(&self) -> Option<usize> {
        self.harmed.filter(|_| !self.is_damaged)
    }

    /// Ends all faults: what is cut is mended, what is down is started, disks and clocks are right.
    pub(crate) fn heal(&mut self) {
        self.trace.note_at(self.now(), "all faults are over");
        self.is_faulty = false;
        let agenda = std::mem::take(&mut self.agenda);
        for act in agenda.into_values() {
            match act {
                Act::Start(_) | Act::Mend(..) | Act::Release(..) | Act::Capacity(..) | Act::Bounce(_) => {
                    self.act(act);
                }
                Act::Latency(a, b, _) => self.act(Act::Latency(a, b, LATENCY_MAX)),
                Act::FailRate(a, b, _) => self.act(Act::FailRate(a, b, 0.0)),
                Act::Crash
                | Act::Fault
                | Act::Cut(..)
                | Act::Hold(..)
                | Act::SyncDelay(..)
                | Act::CutIfAlive(_) => {}
            }
        }
        for index in 0..self.machines.len() {
            let machine = &self.machines[index];
            machine.clock.set_right();
            machine.disk.clear_faults();
            machine.disk.set_capacity(None);
            machine.disk.set_sync_delay(0..SYNC_MS_MAX);
            if machine.disk.is_cut_ordered() {
                self.cut_power(index);
                self.start(index);
            } else if machine.life() == Life::Down {
                self.start(index);
            }
        }
    }

    /// Lets a little time pass.
    ///
    /// # Errors
    /// When the simulation itself ends.
    pub(crate) fn step(&mut self) -> turmoil::Result {
        while let Some(entry) = self.agenda.first_entry()
            && entry.key().0 <= self.sim.elapsed()
        {
            let act = entry.remove();
            self.act(act);
        }
        self.sim.step()?;
        self.watch();
        Ok(())
    }

    /// Nodes that ended by themselves are started again, as a service manager does.
    fn watch(&mut self) {
        for index in 0..self.machines.len() {
            let machine = Arc::clone(&self.machines[index]);
            if machine.disk.is_power_cut() && machine.life() != Life::Down {
                self.note(format_args!("{} has lost its power", machine.name));
                self.cut_power(index);
                self.after(START_AGAIN_MS, Act::Start(index));
            } else if matches!(machine.life(), Life::Failed(_) | Life::Stopped | Life::ShutOut(_)) {
                let is_shut_out = matches!(machine.life(), Life::ShutOut(_));
                machine.clock.set_down(true);
                machine.disk.kill();
                self.sim.crash(machine.name.as_str());
                machine.set_life(Life::Down);
                if is_shut_out {
                    // As its error message says.
                    self.note(format_args!("{} gets an empty disk", machine.name));
                    machine.empty_disk();
                }
                self.after(START_AGAIN_MS, Act::Start(index));
            }
        }
    }

    fn after(&mut self, wait_ms: u64, act: Act) {
        self.entries += 1;
        self.agenda.insert((self.now() + Duration::from_millis(wait_ms), self.entries), act);
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        self.trace.note_at(self.now(), what);
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Fault => self.next_fault(),
            Act::Crash => self.crash_member(),
            Act::Bounce(name) => {
                self.note(format_args!("{name} is started"));
                self.sim.bounce(name.as_str());
            }
            Act::Start(index) => self.start(index),
            Act::Cut(from, to) => self.links.cut(&self.sim, &from, &to),
            Act::Mend(from, to) => self.links.mend(&self.sim, &from, &to),
            Act::Hold(a, b) => self.sim.hold(a.as_str(), b.as_str()),
            Act::Release(a, b) => {
                self.sim.release(a.as_str(), b.as_str());
                self.links.apply(&self.sim, &a, &b);
            }
            Act::Latency(a, b, latency) => {
                self.sim.set_link_max_message_latency(a.as_str(), b.as_str(), latency);
            }
            Act::FailRate(a, b, rate) => self.sim.set_link_fail_rate(a.as_str(), b.as_str(), rate),
            Act::SyncDelay(index, max_ms) => self.machines[index].disk.set_sync_delay(0..max_ms),
            Act::Capacity(index, bytes) => self.machines[index].disk.set_capacity(bytes),
            Act::CutIfAlive(index) => {
                if self.machines[index].disk.is_cut_ordered() {
                    self.note(format_args!("{} loses its power after all", self.machines[index].name));
                    self.cut_power(index);
                    self.after(START_AGAIN_MS, Act::Start(index));
                }
            }
        }
    }

    fn crash_member(&mut self) {
        let name = self.members.pick(&self.clients.members).clone();
        if self.is_faulty && self.sim.is_host_running(name.as_str()) {
            self.note(format_args!("{name} crashes"));
            self.sim.crash(name.as_str());
            (self.clients.crashed)(&name);
            self.after(self.members.within(10..2000), Act::Bounce(name));
        }
        self.after(self.members.within(500..6000), Act::Crash);
    }

    fn start(&mut self, index: usize) {
        let machine = Arc::clone(&self.machines[index]);
        if machine.life() == Life::Down {
            self.note(format_args!("{} is started", machine.name));
            machine.clock.set_down(false);
            machine.set_life(Life::Starting);
            self.sim.bounce(machine.name.as_str());
        }
    }

    /// The process dies. The others hear of it at once, as when its system closes its connections.
    fn kill(&mut self, index: usize) {
        let machine = Arc::clone(&self.machines[index]);
        machine.clock.set_down(true);
        machine.disk.kill();
        self.sim.crash(machine.name.as_str());
        machine.set_life(Life::Down);
    }

    /// The power goes. Nobody hears of it.
    fn cut_power(&mut self, index: usize) {
        let machine = Arc::clone(&self.machines[index]);
        machine.clock.set_down(true);
        machine.disk.crash();
        let others = self.others(&machine.name);
        for other in &others {
            self.links.cut(&self.sim, &machine.name, other);
            self.links.cut(&self.sim, other, &machine.name);
        }
        self.sim.crash(machine.name.as_str());
        machine.set_life(Life::Down);
        for other in &others {
            self.links.mend(&self.sim, &machine.name, other);
            self.links.mend(&self.sim, other, &machine.name);
        }
    }

    fn others(&self, name: &str) -> Vec<String> {
        let nodes = self.machines.iter().map(|machine| machine.name.clone());
        nodes
            .chain(self.clients.names.iter().chain(&self.clients.members).cloned())
            .filter(|other| other != name)
            .collect()
    }

    fn next_fault(&mut self) {
        if !self.is_faulty {
            return;
        }
        let kind = *self.chance.pick(&self.schedule.kinds);
        // Without a majority nothing happens that could go wrong; it should not be so most of the time.
        let down = self.machines.iter().filter(|machine| machine.life() != Life::Running).count();
        if kind.takes_down() && 2 * (down + 1) > self.machines.len() && !self.chance.one_in(4) {
            return self.after(100, Act::Fault);
        }
        let index = usize::try_from(self.chance.below(self.machines.len() as u64)).unwrap_or(0);
        let lasts_ms = self.chance.within(10..self.schedule.lasts_ms_max);
        self.note(format_args!("fault: {kind:?} of {} for {lasts_ms} ms", self.machines[index].name));
        self.begin(kind, index, lasts_ms);
        let gap_ms = self.chance.within(50..self.schedule.gap_ms_max);
        self.after(gap_ms, Act::Fault);
    }

    fn begin(&mut self, kind: Kind, index: usize, lasts_ms: u64) {
        let name = self.machines[index].name.clone();
        let is_up = self.machines[index].life() != Life::Down;
        let others = self.others(&name);
        let other = self.chance.pick(&others).clone();
        match kind {
            Kind::Kill if is_up => {
                self.kill(index);
                self.after(lasts_ms, Act::Start(index));
            }
            Kind::PowerCut if is_up => {
                self.cut_power(index);
                self.after(lasts_ms, Act::Start(index));
            }
            Kind::CutInWrite if is_up => {
                self.machines[index].disk.crash_after_ops(self.chance.below(60));
                self.after(lasts_ms, Act::CutIfAlive(index));
            }
            Kind::EmptyDisk if is_up && self.harmed.is_none() => {
                self.harmed = Some(index);
                self.kill(index);
                self.machines[index].empty_disk();
                self.after(lasts_ms, Act::Start(index));
            }
            Kind::BitFlip if is_up && self.harmed.is_none_or(|harmed| harmed == index) => {
                self.harmed = Some(index);
                self.is_damaged = true;
                self.kill(index);
                let damaged = self.machines[index].flip_bit(&self.chance);
                self.note(format_args!("damaged: {damaged:?}"));
                self.after(lasts_ms, Act::Start(index));
            }
            Kind::Blackout => {
                for index in 0..self.machines.len() {
                    if self.machines[index].life() != Life::Down {
                        self.cut_power(index);
                        let wait_ms = self.chance.below(lasts_ms + 1);
                        self.after(wait_ms, Act::Start(index));
                    }
                }
            }
            Kind::Restart => self.machines[index].ask_to_stop(),
            Kind::SlowDisk | Kind::FailedSync | Kind::FullDisk | Kind::ClockJump => {
                self.begin_on_disk(kind, index, lasts_ms);
            }
            _ => self.begin_on_network(kind, (name, other), lasts_ms),
        }
    }

    fn begin_on_network(&mut self, kind: Kind, (name, other): (String, String), lasts_ms: u64) {
        let cut = |from: &str, to: &str| Act::Cut(from.to_owned(), to.to_owned());
        match kind {
            Kind::Isolate => self.isolate(&name, &[], 0, lasts_ms),
            Kind::Minority => {
                let reaching = usize::try_from(self.chance.within(1..3)).unwrap_or(1);
                let first = usize::try_from(self.chance.below(2)).unwrap_or(0);
                let clients: Vec<String> =
                    self.clients.names.iter().skip(first).take(reaching).cloned().collect();
                self.isolate(&name, &clients, 0, lasts_ms);
            }
            Kind::Flap => {
                for time in 0..self.chance.within(2..8) {
                    self.isolate(&name, &[], time * 2 * (lasts_ms / 8 + 20), lasts_ms / 8 + 20);
                }
            }
            Kind::CutPair => {
                self.act(cut(&name, &other));
                self.act(cut(&other, &name));
                self.after(lasts_ms, Act::Mend(name.clone(), other.clone()));
                self.after(lasts_ms, Act::Mend(other, name));
            }
            Kind::OneWay => {
                let (from, to) = if self.chance.one_in(2) { (name, other) } else { (other, name) };
                self.act(cut(&from, &to));
                self.after(lasts_ms, Act::Mend(from, to));
            }
            Kind::Hold => {
                self.act(Act::Hold(name.clone(), other.clone()));
                self.after(lasts_ms, Act::Release(name, other));
            }
            Kind::SlowLink => {
                let slow = Duration::from_millis(self.chance.within(20..400));
                self.act(Act::Latency(name.clone(), other.clone(), slow));
                self.after(lasts_ms, Act::Latency(name, other, LATENCY_MAX));
            }
            Kind::Drop => {
                self.act(Act::FailRate(name.clone(), other.clone(), 0.05));
                self.after(lasts_ms, Act::FailRate(name, other, 0.0));
            }
            // A node that is down is not taken down again.
            _ => {}
        }
    }

    fn begin_on_disk(&mut self, kind: Kind, index: usize, lasts_ms: u64) {
        let machine = Arc::clone(&self.machines[index]);
        match kind {
            Kind::SlowDisk => {
                machine.disk.set_sync_delay(0..self.chance.within(20..1000));
                self.after(lasts_ms, Act::SyncDelay(index, SYNC_MS_MAX));
            }
            Kind::FailedSync => machine.disk.fail_sync(self.chance.within(1..10)),
            Kind::FullDisk => {
                machine.disk.set_capacity(Some(machine.disk.owned_bytes() + self.chance.below(64 << 10)));
                self.after(lasts_ms, Act::Capacity(index, None));
            }
            Kind::ClockJump => {
                let hours = 1 + self.chance.below(48);
                let by_ms = i64::try_from(hours * 3_600_000).unwrap_or(0);
                machine.clock.jump(if self.chance.one_in(2) { by_ms } else { -by_ms });
            }
            _ => {}
        }
    }

    /// Cuts a machine off from all others but those that still reach it.
    fn isolate(&mut self, name: &str, reaching: &[String], from_ms: u64, lasts_ms: u64) {
        for other in self.others(name).into_iter().filter(|other| !reaching.contains(other)) {
            for (from, to) in [(name.to_owned(), other.clone()), (other, name.to_owned())] {
                self.after(from_ms, Act::Cut(from.clone(), to.clone()));
                self.after(from_ms + lasts_ms, Act::Mend(from, to));
            }
        }
    }
}

/// How long a sync takes at most when nothing is wrong.
pub(crate) const SYNC_MS_MAX: u64 = 6;
