//! Who this replica is to its group, and what it may do while it may lack entries that it acknowledged (R20).
//!
//! ```text
//!                     the power went                     every voter was asked
//!   member ──────────────────────────▶ in doubt ──────────────────────────────▶ in doubt, with a floor
//!     ▲                                   │  a leader takes it in as another            │
//!     ├───────────────────────────────────┘                                             │
//!     └──── it has applied the floor ◀──────────────────────────────────────────────────┘
//! ```
//!
//! It never decides who leads. Invariants:
//! - A replica in doubt answers nothing that is for the member that it was, and does not stand. Its vote could elect a leader
//!   without an entry that it helped to commit; its log could be taken for longer than it is.
//! - With a floor it votes for no log that ends before it: the floor is the longest log among all voters, so it has whatever is left
//!   of what this replica acknowledged.
//! - It acts as another member only when that is durable, and then never as the old one again.

use std::sync::Arc;
use std::time::Duration;

use highwater_storage::{GroupLog, LogError, LogId};
use highwater_types::Incarnation;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::{ConsensusError, RefusedRequest};
use crate::incarnations::Incarnations;
use crate::message::Identity;

/// How often the log says what a partition waits for.
const SAY_AGAIN: Duration = Duration::from_secs(30);
/// How long a leader's word shows that it has taken the replica in.
const WORD_LASTS: Duration = Duration::from_secs(2);

/// Who the replica is, and whether it may act as that.
pub(crate) struct Doubt {
    node: Incarnation,
    incarnations: Arc<Incarnations>,
    log: Arc<GroupLog>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// As whom it asked to be taken in.
    offered: Option<Incarnation>,
    /// The longest log among all voters, once known; `Some(None)` when all are empty.
    floor: Option<Option<LogId>>,
    /// A leader spoke to somebody else than this replica is, and none has spoken to it since.
    is_mistaken: bool,
    /// When a leader spoke to who this replica is.
    spoken_to_at: Option<Instant>,
    /// When the log last said what is waited for.
    said_at: Option<Instant>,
}

impl Doubt {
    /// Of the replica that has `log`, on a node whose data is of the incarnation `node`.
    pub(crate) fn new(node: Incarnation, incarnations: Arc<Incarnations>, log: Arc<GroupLog>) -> Self {
        Self { node, incarnations, log, state: Mutex::default() }
    }

    /// The life of the node's data.
    pub(crate) fn node(&self) -> Incarnation {
        self.node
    }

    /// Whom requests to this replica are for.
    pub(crate) fn here(&self) -> Incarnation {
        self.log.incarnation().unwrap_or(self.node)
    }

    /// Whether it may neither vote nor count, nor stand.
    pub(crate) fn is_barred(&self) -> bool {
        self.log.is_doubtful() && self.state.lock().floor.is_none()
    }

    /// Whether it may vote for somebody whose log ends at `last`.
    pub(crate) fn may_vote_for(&self, last: Option<LogId>) -> bool {
        !self.log.is_doubtful() || self.state.lock().floor.is_some_and(|floor| last >= floor)
    }

    /// Whether it must ask to be taken in, whatever its log says of the members.
    pub(crate) fn must_ask(&self) -> bool {
        self.is_barred() || self.state.lock().is_mistaken
    }

    /// Who it asks to be taken in as: another one than it ever was, unless it is nobody else's already. The same until it became that.
    pub(crate) fn offer(&self) -> Incarnation {
        let own = self.log.incarnation();
        if let Some(own) = own.filter(|_| !self.must_ask()) {
            return own;
        }
        let mut state = self.state.lock();
        match state.offered.filter(|offered| Some(*offered) > own) {
            Some(offered) => offered,
            None => *state.offered.insert(self.incarnations.draw(own)),
        }
    }

    /// Who a leader should take it in as, or has.
    pub(crate) fn identity(&self) -> Identity {
        let is_its_nodes = self.log.incarnation().is_none() && !self.must_ask();
        Identity { node: self.node, replica: (!is_its_nodes).then(|| self.offer()) }
    }

    /// Whether a leader has taken it in as who it is, and spoke to it lately.
    pub(crate) fn is_taken_in(&self) -> bool {
        self.state.lock().spoken_to_at.is_some_and(|at| at.elapsed() <= WORD_LASTS)
    }

    /// Whether a request for `to` means this replica.
    ///
    /// # Errors
    /// When it is for another.
    pub(crate) fn recognize(&self, to: Incarnation) -> Result<(), RefusedRequest> {
        let here = self.here();
        match to == here {
            true => Ok(()),
            false => Err(RefusedRequest::OtherIncarnation { wanted: to, here }),
        }
    }

    /// Whether a request for `to` means this replica, and it may act on it.
    ///
    /// # Errors
    /// When it is for another, or for the one that it must not be any more.
    pub(crate) fn admit(&self, to: Incarnation) -> Result<(), RefusedRequest> {
        self.recognize(to)?;
        match self.is_barred() {
            true => Err(RefusedRequest::InDoubt),
            false => Ok(()),
        }
    }

    /// The same of a leader's entries or state: who it takes this replica in as, it becomes, durably. To be called by one at a time.
    ///
    /// # Errors
    /// As [`Doubt::admit`], or when the journal fails.
    pub(crate) async fn admit_leader(&self, to: Incarnation) -> Result<(), RefusedRequest> {
        let is_offered = to != self.here() && self.state.lock().offered == Some(to);
        if is_offered {
            let (sender, receiver) = oneshot::channel();
            self.log.renew(to, move |result| drop(sender.send(result)));
            match receiver.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(ConsensusError::Log(LogError::Journal(error)).into()),
                Err(_) => return Err(ConsensusError::Stopped.into()),
            }
            tracing::info!(group = %self.log.id(), "the replica goes on as another member of its group, and catches up");
        }
        let admitted = self.admit(to);
        let mut state = self.state.lock();
        match &admitted {
            Ok(()) => (state.is_mistaken, state.spoken_to_at) = (false, Some(Instant::now())),
            Err(RefusedRequest::OtherIncarnation { .. }) => {
                (state.is_mistaken, state.spoken_to_at) = (true, None);
            }
            Err(_) => {}
        }
        drop(state);
        admitted
    }

    /// Whether it is time to say what is waited for.
    pub(crate) fn is_to_say(&self) -> bool {
        let mut state = self.state.lock();
        let is_due = state.said_at.is_none_or(|at| at.elapsed() >= SAY_AGAIN);
        if is_due {
            state.said_at = Some(Instant::now());
        }
        is_due
    }

    /// Takes in what every voter was asked for. Whether the replica can go by it.
    pub(crate) fn settle(&self, floor: Option<LogId>) -> bool {
        if floor < self.log.bounds().1 {
            return false;
        }
        let mut state = self.state.lock();
        state.floor = state.floor.max(Some(floor));
        true
    }

    /// Ends the doubt once the log has all that was left of what was acknowledged.
    pub(crate) fn review(&self) {
        if !self.log.is_doubtful() {
            return;
        }
        let floor = self.state.lock().floor;
        if floor.is_some_and(|floor| self.log.applied_id() >= floor) {
            self.log.vouch();
            tracing::info!(group = %self.log.id(), "the replica has all that was left of its group's log, and is a member like any other");
        }
    }
}
