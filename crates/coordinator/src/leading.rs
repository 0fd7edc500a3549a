//! What the leader of a shard does: takes over, decides what waits, logs it, and gives out the answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use highwater_groups::{Coordinator, GroupsState, Now, TopicsChange, Uptime, codec};
use highwater_types::{Term, mutant};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::error::CoordinatorError;
use crate::queue::{Decided, Deciding, Job};
use crate::replica::Replica;
use crate::shard::ShardParts;
use crate::topics::{self, Catalog, NoOlder};
use crate::wakes::Wakes;

/// Records of one entry, about: no more requests are added to one that has so many.
const ENTRY_RECORDS_MAX: usize = 8 * 1024;
/// How long an entry may take before its fate counts as unknown.
const ENTRY_DEADLINE: Duration = Duration::from_secs(5);
/// How long a leader rests after it could not take over, or learn how new its metadata are.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The task of one shard.
pub(crate) struct Leading<R> {
    parts: ShardParts<R>,
    jobs: mpsc::Receiver<Job>,
    wakes: Arc<Wakes>,
    /// Where the monotonic clock begins.
    origin: Instant,
}

/// While this node leads in one term.
struct Reign {
    term: Term,
    /// Ahead of the log by the entry that is on its way.
    coordinator: Coordinator,
    catalog: Catalog,
    /// Whether the catalog is as new as the groups: what it does not know then is gone.
    is_fresh: bool,
}

/// What there is to do.
enum Event {
    Asked(Job),
    Due,
    TopicsChanged,
    /// The catalog is as new as the groups, or nobody says so yet.
    Refreshed(Result<(), CoordinatorError>),
    StatusChanged,
}

impl<R: Replica> Leading<R> {
    pub(crate) fn new(parts: ShardParts<R>, jobs: mpsc::Receiver<Job>, wakes: Arc<Wakes>) -> Self {
        Self { parts, jobs, wakes, origin: Instant::now() }
    }

    /// Leads whenever this node does, until the group stops or nobody can ask any more.
    pub(crate) async fn run(mut self) {
        while let Some(term) = self.until_leading().await {
            match self.take_over(term).await {
                Ok(reign) => {
                    tracing::info!(
                        term = term.0,
                        groups = reign.coordinator.state().groups().len(),
                        "coordinates its consumer groups"
                    );
                    self.reign(reign).await;
                    // Whoever waits here asks again, and learns who decides now.
                    self.wakes.wake_all();
                }
                Err(error) => {
                    tracing::debug!(%error, "the consumer groups could not be taken over");
                    sleep(TRY_AGAIN_AFTER).await;
                }
            }
        }
    }

    /// The term in which this node leads and serves. Refuses what is asked until then. None at the end.
    async fn until_leading(&mut self) -> Option<Term> {
        let mut changes = self.parts.replica.watch();
        loop {
            changes.borrow_and_update();
            let status = self.parts.replica.status();
            if status.is_serving {
                return Some(status.term);
            }
            tokio::select! {
                // Who asked may have seen already that this node leads.
                biased;
                changed = changes.changed() => changed.ok()?,
                () = self.parts.replica.until_settled(), if status.is_leader => {}
                job = self.jobs.recv() => {
                    let leader = status.leader.filter(|_| !status.is_leader);
                    job?(Err(CoordinatorError::NotLeader { leader }));
                }
            }
        }
    }

    /// Begins with what is committed: an entry of this term proves that nothing is missing.
    async fn take_over(&self, term: Term) -> Result<Reign, CoordinatorError> {
        self.log(term, Bytes::new()).await?;
        let (state, config) = (self.parts.applied.now(), self.parts.config.clone());
        let coordinator = Coordinator::take_over(state, config, self.now().uptime);
        let catalog = self.catalog(coordinator.state(), false);
        Ok(Reign { term, coordinator, catalog, is_fresh: false })
    }

    /// Decides and logs until this node leads no more, or does not know what became of an entry.
    async fn reign(&mut self, mut reign: Reign) {
        let topics = Arc::clone(&self.parts.topics);
        let (mut statuses, mut changes) = (self.parts.replica.watch(), topics.changes());
        let refresh = async |after: Duration| {
            sleep(after).await;
            topics.refresh().await
        };
        let mut refreshing = Box::pin(refresh(Duration::ZERO));
        let mut turn = Vec::new();
        loop {
            if self.conclude(reign.term, std::mem::take(&mut turn)).await.is_err() {
                return;
            }
            let due = reign.coordinator.next_deadline().map(|due| self.origin + due.0);
            let event = tokio::select! {
                job = self.jobs.recv() => match job {
                    Some(job) => Event::Asked(job),
                    None => return,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Event::Due,
                Ok(()) = changes.changed() => Event::TopicsChanged,
                refreshed = &mut refreshing, if !reign.is_fresh => Event::Refreshed(refreshed),
                changed = statuses.changed() => match changed {
                    Ok(()) => Event::StatusChanged,
                    Err(_) => return,
                },
            };
            match event {
                Event::Asked(job) => turn = self.decide(&mut reign, job),
                Event::Due => {
                    let tick = reign.coordinator.tick(self.now(), &*reign.catalog);
                    turn.push(Decided::unasked(tick));
                }
                Event::TopicsChanged => turn.push(self.look_at_topics(&mut reign)),
                Event::Refreshed(Ok(())) => {
                    reign.is_fresh = true;
                    turn.push(self.look_at_topics(&mut reign));
                }
                Event::Refreshed(Err(error)) => {
                    tracing::debug!(%error, "nobody says yet how new this node's metadata are");
                    refreshing = Box::pin(refresh(TRY_AGAIN_AFTER));
                }
                Event::StatusChanged => {
                    let status = self.parts.replica.status();
                    if !status.is_leader || status.term != reign.term {
                        return;
                    }
                }
            }
        }
    }

    /// Decides a request and those that wait behind it.
    fn decide(&mut self, reign: &mut Reign, first: Job) -> Vec<Decided> {
        let now = self.now();
        let mut turn: Vec<Decided> = Vec::new();
        let mut records = 0;
        let mut next = Some(first);
        while let Some(job) = next {
            let deciding = Deciding { coordinator: &mut reign.coordinator, now, topics: &*reign.catalog };
            if let Some(decided) = job(Ok(deciding)) {
                records += decided.records.len();
                turn.push(decided);
            }
            next = if records < ENTRY_RECORDS_MAX { self.jobs.try_recv().ok() } else { None };
        }
        turn
    }

    /// The topics to go by.
    fn catalog(&self, state: &GroupsState, is_fresh: bool) -> Catalog {
        let catalog = self.parts.topics.catalog();
        match is_fresh {
            true => catalog,
            false => Arc::new(NoOlder::than(state, catalog)),
        }
    }

    /// Takes in what changed in the topics.
    fn look_at_topics(&self, reign: &mut Reign) -> Decided {
        reign.catalog = self.catalog(reign.coordinator.state(), reign.is_fresh);
        let found = topics::change(reign.coordinator.state(), &*reign.catalog);
        let deleted = if reign.is_fresh { found.deleted } else { Vec::new() };
        let change = TopicsChange { names: found.names, deleted };
        Decided::unasked(reign.coordinator.topics_changed(self.now(), &*reign.catalog, &change))
    }

    /// Makes decisions durable, and then gives them out; or says why not.
    ///
    /// # Errors
    /// When what was decided is not known to be in the log: nothing can be decided after it.
    async fn conclude(&self, term: Term, mut turn: Vec<Decided>) -> Result<(), CoordinatorError> {
        let records: Vec<_> =
            turn.iter_mut().flat_map(|decided| std::mem::take(&mut decided.records)).collect();
        if mutant!(AnsweredBeforeReplicated) {
            turn.drain(..).for_each(|decided| (decided.deliver)(Ok(())));
        }
        let outcome = match records.is_empty() {
            true => self.still_serves(term),
            false => self.log(term, codec::encode_records(&records)).await,
        };
        for Decided { wakes, deliver, .. } in turn {
            deliver(outcome.clone());
            if outcome.is_ok() {
                wakes.iter().for_each(|wake| self.wakes.wake(wake));
            }
        }
        // A leader that does not serve for a moment has lost nothing.
        if records.is_empty() { Ok(()) } else { outcome }
    }

    /// That nobody else can have decided anything by now.
    fn still_serves(&self, term: Term) -> Result<(), CoordinatorError> {
        let status = self.parts.replica.status();
        match status.is_serving && status.term == term {
            true => Ok(()),
            false => Err(CoordinatorError::NotLeader { leader: status.leader.filter(|_| !status.is_leader) }),
        }
    }

    async fn log(&self, term: Term, entry: Bytes) -> Result<(), CoordinatorError> {
        let proposed = timeout(ENTRY_DEADLINE, self.parts.replica.propose(term, entry)).await;
        proposed.unwrap_or_else(|_| {
            let ms = ENTRY_DEADLINE.as_millis();
            Err(CoordinatorError::OutcomeUnknown { reason: format!("it was not committed within {ms} ms") })
        })
    }

    fn now(&self) -> Now {
        Now { uptime: Uptime(self.origin.elapsed()), wall: self.parts.clock.now() }
    }
}
