//! Whether a follower is in step with its leader's log or has to catch up, and what of its replication is bounded then.
//!
//! A follower is in step while it lacks less than [`IN_STEP_BYTES`]: what it is sent then is never held back. One that lacks more
//! is sent what the log grows by as freely as if it were in step, and what lies behind within the node's bound on catching up. So it
//! gets nearer, whatever the producers do.
//!
//! A new leader does not know what its followers have: it looks for it in halves of its log, from the middle on. What it hears of such a
//! look says nothing yet about how far the follower is; that is known once one request goes on where the one before ended.

use std::sync::Arc;

use highwater_storage::GroupLog;
use highwater_types::RaftIndex;
use openraft::alias::LogIdOf;

use crate::convert;
use crate::log_store::READ_BYTES_MAX;
use crate::settings::ENTRIES_PER_REQUEST_MAX;
use crate::throttle::Throttle;
use crate::type_config::Types;

/// How much of the log a follower may lack and still be in step.
const IN_STEP_BYTES: u64 = 64 << 20;
/// Entries that it may lack without a look at their size.
const IN_STEP_ENTRIES: u64 = 64;

/// What a leader knows of one follower's way to the end of its log.
pub(crate) struct CatchingUp {
    log: Arc<GroupLog>,
    position: Position,
    /// The end of the log when it was waited last.
    end: Option<RaftIndex>,
}

impl CatchingUp {
    pub(crate) fn new(log: &Arc<GroupLog>) -> Self {
        Self { log: Arc::clone(log), position: Position::default(), end: None }
    }

    /// Waits until the next entries may be read and sent; not at all while the follower is in step, nor before it has said what it
    /// has, which is small. What they take is reckoned before they are read: what waits holds nothing, and who reads holds up nobody.
    pub(crate) async fn wait(&mut self, throttle: &Throttle) {
        let Some(end) = self.log.bounds().1.map(|last| last.index) else { return };
        let grown = self.end.replace(end).map_or(0, |before| end.0.saturating_sub(before.0));
        let Some(stored) = self.position.stored else { return };
        let entries = end.0.saturating_sub(stored.0);
        if entries <= IN_STEP_ENTRIES {
            return;
        }
        let bytes = self.log.bytes_after(stored);
        if bytes > IN_STEP_BYTES {
            throttle.turn().await.used(charge(entries, bytes, grown));
        }
    }

    /// The follower, asked for what follows `previous`, has the log up to `last`; or it has not, and says what it has to another request.
    pub(crate) fn answered(&mut self, previous: Option<&LogIdOf<Types>>, last: Option<&LogIdOf<Types>>) {
        let index = |id: &LogIdOf<Types>| convert::log_id(id).index;
        self.position.answered(previous.map(index), last.map(index));
    }
}

/// Where a follower's log ends, as its answers tell.
#[derive(Default)]
struct Position {
    /// The last entry that it was heard to have.
    heard: Option<RaftIndex>,
    /// The same, once it is known that it has no more.
    stored: Option<RaftIndex>,
}

impl Position {
    fn answered(&mut self, previous: Option<RaftIndex>, last: Option<RaftIndex>) {
        let goes_on = self.heard == previous;
        self.stored = last.filter(|_| goes_on);
        self.heard = last;
    }
}

/// What the next request counts for: about what it holds of the `entries` that lack `bytes` in all, less its share of what the log
/// has grown by since the request before.
fn charge(entries: u64, bytes: u64, grown: u64) -> u64 {
    let sent = entries.min(ENTRIES_PER_REQUEST_MAX);
    let behind = sent.saturating_sub(grown);
    let each = bytes / entries.max(1);
    (each * behind).min(READ_BYTES_MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_log_grows_by_is_free_and_a_request_is_never_more_than_is_read_at_once() {
        let full = ENTRIES_PER_REQUEST_MAX;
        assert_eq!(charge(1_000_000, 100_000_000, 0), full * 100);
        assert_eq!(charge(1_000_000, 100_000_000, full / 2), full / 2 * 100);
        assert_eq!(charge(1_000_000, 100_000_000, full + 1), 0);
        assert_eq!(charge(1000, 1000 << 20, 0), READ_BYTES_MAX as u64);
    }

    #[test]
    fn what_is_heard_while_a_leader_looks_for_the_end_of_a_log_is_not_where_it_ends() {
        let mut position = Position::default();
        // Of 1000 entries the follower has 990: halves from the middle on, a conflict, and then one after the other.
        let looks = [(499, Some(507)), (749, Some(757)), (993, None), (989, Some(989))];
        for (previous, last) in looks {
            position.answered(Some(RaftIndex(previous)), last.map(RaftIndex));
            assert_eq!(position.stored, None, "after {previous}");
        }
        position.answered(Some(RaftIndex(989)), Some(RaftIndex(995)));
        assert_eq!(position.stored, Some(RaftIndex(995)));
        position.answered(Some(RaftIndex(995)), None);
        assert_eq!(position.stored, None);
        // A follower that has nothing.
        let mut empty = Position::default();
        empty.answered(None, Some(RaftIndex(300)));
        assert_eq!(empty.stored, Some(RaftIndex(300)));
    }
}
