//! One store under a random load, its crashes, and its model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use highwater_storage::disk::{Disk, SimDisk};
use highwater_storage::{Durability, GroupLog, NewPayload, Payload, Store};
use highwater_types::{GroupId, Offset, RaftIndex};

use super::model::{Death, GroupModel};
use super::{Chain, Seeded, Seen, apply_to, batch, group_options, new_entry, open, partition, try_look, vote};

/// A store, the disk below it, and what it promised.
pub struct Workload {
    pub seed: u64,
    pub random: Seeded,
    pub disk: SimDisk,
    store: Option<Arc<Store>>,
    models: BTreeMap<GroupId, GroupModel>,
    removed: BTreeSet<GroupId>,
    /// Removals and creations that may or may not have happened.
    unsure: BTreeSet<GroupId>,
    next_partition: u32,
    pub crashes: u64,
}

impl Workload {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            random: Seeded::new(seed),
            disk: SimDisk::new(seed),
            store: None,
            models: BTreeMap::new(),
            removed: BTreeSet::new(),
            unsure: BTreeSet::new(),
            next_partition: 0,
            crashes: 0,
        }
    }

    fn store(&self) -> Arc<Store> {
        self.store.clone().expect("the store is open")
    }

    /// Opens the store, dying in between now and then, and compares it with the model.
    pub async fn reopen(&mut self, mut death: Death) {
        let mut previous = None;
        loop {
            if self.random.chance(25) {
                self.disk.crash_after_ops(self.random.below(40));
            }
            match open(self.disk.for_process(), &self.random) {
                Ok(store) => {
                    self.trace(|| format!("opened {:?}", store.groups()));
                    assert_eq!(store.quarantine(), None, "seed {}", self.seed);
                    self.store = Some(store);
                }
                Err(error) => assert!(self.disk.is_power_cut(), "seed {}: {error}", self.seed),
            }
            if self.disk.is_power_cut() || self.random.chance(15) {
                // Once more, as if nothing had been read.
                if self.disk.is_power_cut() || self.random.chance(50) {
                    death = Death::PowerCut;
                }
                self.die(death);
                continue;
            }
            self.disk.crash_after_ops(u64::MAX / 2);
            let seen = self.check(death).await;
            if let Some(previous) = previous {
                assert_eq!(seen, previous, "seed {}: the second recovery differs", self.seed);
                return;
            }
            if !self.random.chance(20) {
                return;
            }
            previous = Some(seen);
            death = Death::Killed;
            self.die(death);
        }
    }

    /// With `HIGHWATER_TRACE` set, says what happens.
    fn trace(&self, what: impl FnOnce() -> String) {
        if std::env::var_os("HIGHWATER_TRACE").is_some() {
            let names: Vec<String> =
                self.disk.files().into_iter().filter(|name| !name.starts_with("topics")).collect();
            println!("{} after {} operations; {names:?}", what(), self.disk.op_count());
        }
    }

    fn die(&mut self, death: Death) {
        self.crashes += 1;
        self.trace(|| format!("dies: {death:?}"));
        match death {
            Death::Killed => self.disk.kill(),
            Death::PowerCut => self.disk.crash(),
        }
        self.store = None;
    }

    async fn check(&mut self, death: Death) -> BTreeMap<GroupId, Seen> {
        let store = self.store();
        let found: BTreeSet<GroupId> = store.groups().into_iter().collect();
        for id in &self.removed {
            assert!(!found.contains(id), "seed {}: group {id} was removed and is back", self.seed);
        }
        for id in std::mem::take(&mut self.unsure) {
            if !found.contains(&id) {
                self.models.remove(&id);
                self.removed.insert(id);
            }
        }
        self.models.retain(|id, model| {
            let there = found.contains(id);
            assert!(there || model.may_be_missing, "group {id} is gone");
            there
        });
        assert_eq!(found, self.models.keys().copied().collect(), "seed {}: the groups", self.seed);
        let mut seen = BTreeMap::new();
        for (id, model) in &mut self.models {
            let log = store.group(*id).expect("it is listed");
            seen.insert(*id, model.check_reopened(&log, death));
            model.check_snapshot(&log).await;
            log.install(Box::new(Chain::default())).expect("the state can be read");
        }
        for id in &self.removed {
            let directory = highwater_storage::layout::group_directory(*id);
            assert!(!self.disk.exists(&directory).expect("a look"), "group {id} left data behind");
        }
        seen
    }

    /// Works until `operations` are done or the power is cut, then dies.
    pub async fn live_and_die(&mut self, operations: u64) {
        if self.random.chance(75) {
            self.disk.crash_after_ops(self.random.below(4 * operations));
        }
        for _ in 0..operations {
            self.step().await;
            if self.random.chance(40) {
                tokio::task::yield_now().await;
            }
            if self.disk.is_power_cut() {
                break;
            }
        }
        for _ in 0..self.random.below(4) {
            tokio::task::yield_now().await;
        }
        let cut = self.disk.is_power_cut() || self.random.chance(60);
        let death = if cut { Death::PowerCut } else { Death::Killed };
        self.die(death);
        self.reopen(death).await;
    }

    async fn step(&mut self) {
        let choice = self.random.below(100);
        let result = match choice {
            0..=3 => self.create(),
            4..=54 => self.append(),
            55..=79 => self.apply(),
            80..=84 => self.save_vote(),
            85..=88 => self.truncate(),
            89..=92 => self.checkpoint().await,
            93..=96 => self.purge(),
            97 => self.remove().await,
            _ => self.read(),
        };
        self.trace(|| format!("step {choice}: {result:?}"));
        if let Err(error) = result {
            assert!(self.disk.is_power_cut(), "seed {}: {error}", self.seed);
        }
    }

    fn create(&mut self) -> Result<(), String> {
        if self.models.len() >= 8 {
            return Ok(());
        }
        let group = partition(self.next_partition);
        self.next_partition += 1;
        let durability = if self.random.chance(30) { Durability::Memory } else { Durability::Fsync };
        let options = group_options(durability, 4096 << self.random.below(3));
        let log = self.store().create_group(group, options).map_err(|error| error.to_string())?;
        log.install(Box::new(Chain::default())).map_err(|error| error.to_string())?;
        let mut model = GroupModel::new(durability);
        model.stalled = self.random.chance(30);
        self.models.insert(group, model);
        Ok(())
    }

    fn pick(&self) -> Option<(GroupId, Arc<GroupLog>)> {
        let count = self.models.len() as u64;
        let nth = if count == 0 { return None } else { self.random.below(count) };
        let id = *self.models.keys().nth(nth as usize)?;
        Some((id, self.store().group(id).expect("a group of the model exists")))
    }

    fn payload(&self, log: &Arc<GroupLog>) -> NewPayload {
        match self.random.below(20) {
            0 => NewPayload::Ready(Payload::Blank),
            1 => NewPayload::Ready(Payload::Membership(Bytes::from(self.random.next().to_string()))),
            2 => NewPayload::Ready(Payload::Control(Bytes::from_static(b"control"))),
            3..=5 => {
                let high = log.watermarks().high_watermark().0;
                let start = Offset(self.random.below(high as u64 + 1) as i64);
                NewPayload::Ready(Payload::Control(Bytes::copy_from_slice(&start.0.to_le_bytes())))
            }
            6 => NewPayload::Proposed(batch(&self.random, 12_000)),
            _ => NewPayload::Proposed(batch(&self.random, 40 + self.random.below(2500) as usize)),
        }
    }

    fn append(&mut self) -> Result<(), String> {
        let Some((id, log)) = self.pick() else { return Ok(()) };
        let count = 1 + self.random.below(4);
        let payloads: Vec<_> = (0..count).map(|_| self.payload(&log)).collect();
        let model = self.models.get_mut(&id).expect("picked");
        let (term, first) = (model.term(), model.next_index());
        let entries =
            (first..).zip(payloads).map(|(index, payload)| new_entry(term, index, payload)).collect::<Vec<_>>();
        model.calls += 1;
        let (call, promised) = (model.calls, model.promised.clone());
        let done = move |result: Result<(), _>| {
            let mut promised = promised.lock();
            assert!(promised.last_completed < call, "completions of a group come in order");
            promised.last_completed = call;
            if result.is_ok() {
                promised.stored = promised.stored.max(first + count);
            }
        };
        log.append(entries, done).map_err(|error| error.to_string())?;
        model.appended(&log, count);
        Ok(())
    }

    fn apply(&mut self) -> Result<(), String> {
        let Some((id, log)) = self.pick() else { return Ok(()) };
        if self.random.chance(5) {
            let stalls = self.random.chance(30);
            self.models.get_mut(&id).expect("picked").stalled = stalls;
        }
        let model = self.models.get_mut(&id).expect("picked");
        let stored = model.promised.lock().stored;
        if model.stalled || stored <= model.applied {
            return Ok(());
        }
        let upto = model.applied + 1 + self.random.below(stored - model.applied);
        apply_to(&log, upto - 1)?;
        model.applied = upto;
        let (chain, start, high) = model.state_after(upto);
        let watermarks = log.watermarks();
        assert_eq!(Chain::decode(&log.snapshot().1), Some(chain), "seed {}", self.seed);
        assert_eq!((watermarks.log_start(), watermarks.high_watermark()), (start, high), "seed {}", self.seed);
        Ok(())
    }

    fn save_vote(&mut self) -> Result<(), String> {
        let Some((id, log)) = self.pick() else { return Ok(()) };
        let model = self.models.get_mut(&id).expect("picked");
        let vote = vote(model.term() + 1);
        model.vote = Some(vote);
        model.calls += 1;
        let (call, promised, length) = (model.calls, model.promised.clone(), model.next_index());
        log.save_vote(vote, move |result| {
            let mut promised = promised.lock();
            assert!(promised.last_completed < call, "completions of a group come in order");
            promised.last_completed = call;
            if result.is_ok() {
                assert!(promised.stored >= length.min(promised.stored), "a vote waits for earlier appends");
                promised.durable = promised.durable.max(promised.stored);
                promised.vote = Some(vote);
            }
        });
        Ok(())
    }

    /// Another leader's term begins: some of what was not committed is replaced.
    fn truncate(&mut self) -> Result<(), String> {
        let Some((id, log)) = self.pick() else { return Ok(()) };
        let model = self.models.get_mut(&id).expect("picked");
        let committed = log.committed().map_or(0, |committed| committed.index.0 + 1).max(model.applied);
        let length = model.next_index();
        // What is promised but not committed may go; what is still on its way is left alone, so that its
        // completion cannot count entries that are gone.
        if length <= committed || model.promised.lock().last_completed < model.calls {
            return Ok(());
        }
        let keep = committed + self.random.below(length - committed);
        log.truncate_after(keep.checked_sub(1).map(RaftIndex));
        model.truncated(keep);
        let term = model.term() + 1;
        model.vote = Some(vote(term));
        model.calls += 1;
        let (call, promised) = (model.calls, model.promised.clone());
        log.save_vote(vote(term), move |result| {
            let mut promised = promised.lock();
            promised.last_completed = call;
            if result.is_ok() {
                promised.vote = Some(vote(term));
            }
        });
        Ok(())
    }

    async fn checkpoint(&mut self) -> Result<(), String> {
        let before: Vec<_> = self.models.iter().map(|(id, model)| (*id, model.applied, model.purged)).collect();
        self.store().checkpoint().await.map_err(|error| error.to_string())?;
        for (id, applied, purged) in before {
            let model = self.models.get_mut(&id).expect("nothing is removed meanwhile");
            model.checkpointed = applied;
            model.checkpointed_purge = purged;
            model.may_be_missing = false;
        }
        Ok(())
    }

    fn purge(&mut self) -> Result<(), String> {
        let Some((id, log)) = self.pick() else { return Ok(()) };
        let model = self.models.get_mut(&id).expect("picked");
        let Some(point) = log.purge_point() else { return Ok(()) };
        assert!(point.index.0 < model.checkpointed, "only what a checkpoint took in may go");
        model.purged = Some(point);
        log.purge(point).map_err(|error| error.to_string())
    }

    async fn remove(&mut self) -> Result<(), String> {
        let Some((id, _)) = self.pick() else { return Ok(()) };
        self.unsure.insert(id);
        self.store().remove_group(id).await.map_err(|error| error.to_string())?;
        self.unsure.remove(&id);
        self.models.remove(&id);
        self.removed.insert(id);
        Ok(())
    }

    fn read(&mut self) -> Result<(), String> {
        let Some((id, log)) = self.pick() else { return Ok(()) };
        let seen = try_look(&log).map_err(|error| error.to_string())?;
        let model = &self.models[&id];
        assert_eq!(seen.last, model.log.last().map(|known| known.id), "seed {}", self.seed);
        let first = seen.purged.map_or(0, |purged| purged.index.0 + 1);
        for (index, (id, payload)) in (first..).zip(&seen.entries) {
            let known = &model.log[index as usize];
            assert_eq!((known.id, &known.payload), (*id, payload), "seed {}", self.seed);
        }
        Ok(())
    }
}
