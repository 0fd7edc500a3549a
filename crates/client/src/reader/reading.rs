//! One partition that is read: where it goes on, and when it may be tried again. Pure.

use std::sync::Arc;
use std::time::Duration;

use highwater_types::Offset;
use tokio::time::Instant;

use crate::cluster::Whereabouts;
use crate::consumer::StartPosition;
use crate::reader::push_stream::StreamId;
use crate::topic::PartitionKey;

/// After so long without a leader a partition is asked for at any other node. Longer than an election.
const DETOUR_AFTER: Duration = Duration::from_secs(3);
/// After so many moves without a push the waits between attempts are kept, so that two nodes that name each other are
/// not asked in turns as fast as they can answer.
const QUICK_MOVES: u32 = 3;

/// See the module.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) key: PartitionKey,
    /// Where it goes on. Moves only when the push before it was handed over.
    pub(crate) position: StartPosition,
    /// The stream that it comes from. Pushes of another are not taken.
    pub(crate) stream: Option<StreamId>,
    /// Bytes that were pushed and that the user has not taken.
    pub(crate) unconsumed: u64,
    /// The address that was tried last.
    tried: Option<Arc<str>>,
    /// Where its leader was said to be then.
    leader: Option<Arc<str>>,
    /// Its leader may be another than is known: keep looking.
    pub(crate) misses_leader: bool,
    /// Since when it cannot be read from a leader.
    homeless_since: Option<Instant>,
    retry_at: Option<Instant>,
    moves: u32,
}

impl Reading {
    pub(crate) fn new(key: PartitionKey, position: StartPosition) -> Self {
        Self {
            key,
            position,
            stream: None,
            unconsumed: 0,
            tried: None,
            leader: None,
            misses_leader: false,
            homeless_since: None,
            retry_at: None,
            moves: 0,
        }
    }

    /// When to try it; `None` while it is being read.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        self.stream.is_none().then(|| self.retry_at.unwrap_or(now))
    }

    /// Where to read it, given where its leader is said to be, if it is. `any` is the server that has its turn for everything:
    /// after a while without a leader it may know a way. `None` is nowhere, for now.
    pub(crate) fn choose(
        &mut self,
        whereabouts: &Whereabouts,
        any: Arc<str>,
        now: Instant,
    ) -> Option<Arc<str>> {
        let is_nobody = *whereabouts == Whereabouts::Nobody;
        if is_nobody {
            self.misses_leader = true;
            self.homeless_since.get_or_insert(now);
        }
        let is_detour = self.homeless_since.is_some_and(|since| now - since >= DETOUR_AFTER);
        self.leader = None;
        match whereabouts {
            Whereabouts::At(leader) => {
                self.leader = Some(Arc::clone(leader));
                Some(if is_detour { any } else { Arc::clone(leader) })
            }
            Whereabouts::Unknown => Some(any),
            Whereabouts::Nobody => is_detour.then_some(any),
        }
    }

    pub(crate) fn start(&mut self, stream: StreamId, address: &Arc<str>) {
        self.stream = Some(stream);
        self.tried = Some(Arc::clone(address));
        self.retry_at = None;
    }

    /// Its stream is over, or its part of it.
    pub(crate) fn stop(&mut self, now: Instant, retry_at: Instant, misses_leader: bool) {
        self.stream = None;
        if misses_leader {
            self.misses_leader = true;
            self.homeless_since.get_or_insert(now);
        }
        self.retry_at = Some(retry_at);
    }

    /// It is read over another stream, from now on.
    pub(crate) fn reopen(&mut self) {
        self.stream = None;
        self.retry_at = None;
    }

    /// Its leader is believed to be at this address: if that is news, it is read from there at once.
    pub(crate) fn follow(&mut self, leader: &Arc<str>) {
        if self.leader.as_ref() == Some(leader) || self.tried.is_none() {
            return;
        }
        self.leader = Some(Arc::clone(leader));
        if self.tried.as_ref() != Some(leader) && self.moves < QUICK_MOVES {
            self.moves += 1;
            self.reopen();
        }
    }

    /// A push was handed over.
    pub(crate) fn on_push(&mut self, next: Offset, charged: u64) {
        self.position = StartPosition::Offset(next);
        self.unconsumed += charged;
        self.misses_leader = false;
        self.homeless_since = None;
        self.moves = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_types::PartitionIndex;

    fn earliest() -> Reading {
        let key = PartitionKey { topic: "t".into(), topic_id: "id".into(), partition: PartitionIndex(0) };
        Reading::new(key, StartPosition::Earliest)
    }

    fn at(address: &str) -> Whereabouts {
        Whereabouts::At(address.into())
    }

    fn choose(reading: &mut Reading, whereabouts: &Whereabouts, now: Instant) -> Option<String> {
        reading.choose(whereabouts, "any:1".into(), now).map(|address| address.to_string())
    }

    #[test]
    fn a_leader_that_cannot_be_reached_is_gone_round_after_a_while() {
        let (mut reading, now) = (earliest(), Instant::now());
        assert_eq!(choose(&mut reading, &at("a:1"), now).as_deref(), Some("a:1"));
        reading.start(StreamId(0), &"a:1".into());
        reading.stop(now, now, true);
        assert_eq!(choose(&mut reading, &at("a:1"), now).as_deref(), Some("a:1"));
        let later = now + DETOUR_AFTER;
        assert_eq!(choose(&mut reading, &at("a:1"), later).as_deref(), Some("any:1"));
        reading.on_push(Offset(3), 0);
        assert_eq!(reading.position, StartPosition::Offset(Offset(3)));
        assert_eq!(choose(&mut reading, &at("a:1"), later).as_deref(), Some("a:1"));
        assert_eq!(choose(&mut reading, &Whereabouts::Nobody, later), None);
        assert!(reading.misses_leader);
    }

    #[test]
    fn only_news_of_the_leader_moves_a_partition_and_only_so_often_without_a_push() {
        let (mut reading, now) = (earliest(), Instant::now());
        let open = |reading: &mut Reading, address: &str| {
            reading.choose(&at(address), "any:1".into(), now);
            reading.start(StreamId(0), &address.into());
        };
        open(&mut reading, "a:1");
        reading.follow(&"a:1".into());
        assert_eq!(reading.due(now), None);
        for address in ["b:1", "a:1", "b:1"] {
            reading.follow(&address.into());
            assert_eq!(reading.due(now), Some(now));
            open(&mut reading, address);
        }
        reading.follow(&"a:1".into());
        assert_eq!(reading.due(now), None, "these two name each other");
        reading.on_push(Offset(1), 0);
        reading.follow(&"c:1".into());
        assert_eq!(reading.due(now), Some(now));
    }
}
