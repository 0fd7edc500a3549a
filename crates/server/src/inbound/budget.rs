//! The node's bytes for messages that are being received, and who makes way when they run out.
//!
//! A message takes all of its bytes before its first one is kept. So who holds a share needs no more
//! to finish and waits for nobody but its own sender: there is no deadlock, and what remains is a sender
//! that stops in the middle. While others wait for room, such a message is given up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use highwater_broker::{ByteBudget, BytesPermit};
use highwater_types::limits;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often a message that waits for room looks for others that make way.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes of messages that are being received. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct InboundBudget {
    bytes: ByteBudget,
    receptions: Arc<Mutex<Receptions>>,
}

/// The messages whose next bytes are waited for.
#[derive(Debug, Default)]
struct Receptions {
    next_key: u64,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    bytes: usize,
    since: Instant,
    due: Instant,
    given_up: CancellationToken,
}

impl Waiting {
    /// Whether its sender is silent, or slow on the whole.
    fn is_stalled(&self, now: Instant) -> bool {
        now >= self.due || now.duration_since(self.since) >= Duration::from_millis(limits::INBOUND_STALL_MS)
    }
}

/// There was no room for a message in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoRoom;

impl InboundBudget {
    /// A budget of so many bytes.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { bytes: ByteBudget::new(capacity), receptions: Arc::default() }
    }

    pub(super) fn capacity_bytes(&self) -> usize {
        self.bytes.capacity_bytes()
    }

    pub(super) fn try_acquire(&self, bytes: usize) -> Option<BytesPermit> {
        self.bytes.try_acquire(bytes)
    }

    /// Takes bytes in the order of arrival. Messages whose senders have stalled make way.
    pub(super) async fn acquire(&self, bytes: usize) -> Result<BytesPermit, NoRoom> {
        let deadline = Instant::now() + Duration::from_millis(limits::INBOUND_WAIT_MS);
        let mut acquired = std::pin::pin!(self.bytes.acquire(bytes));
        loop {
            self.give_up_stalled(bytes);
            tokio::select! {
                biased;
                permit = &mut acquired => return Ok(permit),
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            if Instant::now() >= deadline {
                return Err(NoRoom);
            }
        }
    }

    /// Gives up stalled messages until they make room for so many bytes, the longest silent first.
    fn give_up_stalled(&self, bytes: usize) {
        let now = Instant::now();
        let mut receptions = self.receptions.lock();
        let waiting = receptions.waiting.iter();
        let mut stalled: Vec<_> = waiting
            .filter(|(_, waiting)| waiting.is_stalled(now))
            .map(|(key, waiting)| (waiting.since, *key))
            .collect();
        stalled.sort_unstable();
        let mut room = 0;
        for (_, key) in stalled {
            if room >= bytes {
                return;
            }
            if let Some(waiting) = receptions.waiting.remove(&key) {
                room += waiting.bytes;
                waiting.given_up.cancel();
            }
        }
    }

    /// Says that the next bytes of a message that holds `bytes` are waited for, and that all of it
    /// is to be there by `due`.
    pub(super) fn wait_for_sender(&self, bytes: usize, due: Instant) -> Reception {
        let given_up = CancellationToken::new();
        let mut receptions = self.receptions.lock();
        let key = receptions.next_key;
        receptions.next_key += 1;
        let waiting = Waiting { bytes, since: Instant::now(), due, given_up: given_up.clone() };
        receptions.waiting.insert(key, waiting);
        Reception { key, given_up, receptions: Arc::clone(&self.receptions) }
    }
}

/// A message whose next bytes are waited for; dropped when they are there.
#[derive(Debug)]
pub(super) struct Reception {
    key: u64,
    given_up: CancellationToken,
    receptions: Arc<Mutex<Receptions>>,
}

impl Reception {
    /// Cancelled when the message has to make way.
    pub(super) fn given_up(&self) -> CancellationToken {
        self.given_up.clone()
    }
}

impl Drop for Reception {
    fn drop(&mut self) {
        self.receptions.lock().waiting.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_sender_makes_way_and_an_active_one_does_not() {
        let budget = InboundBudget::new(100);
        let silent = budget.try_acquire(50).expect("free");
        let active = budget.try_acquire(50).expect("free");
        let silence = budget.wait_for_sender(50, far());
        let given_up = silence.given_up();
        let evicted = tokio::spawn(async move {
            given_up.cancelled().await;
            drop((silent, silence));
        });
        let sends = budget.clone();
        let sender = tokio::spawn(async move {
            loop {
                let reception = sends.wait_for_sender(50, far());
                tokio::time::sleep(Duration::from_millis(limits::INBOUND_STALL_MS / 2)).await;
                assert!(!reception.given_up().is_cancelled(), "an active sender lost its share");
            }
        });
        let room = budget.acquire(40).await.expect("room is made");
        assert!(evicted.is_finished() && !sender.is_finished());
        sender.abort();
        drop((active, room));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_of_single_bytes_makes_way_when_its_message_is_overdue() {
        let budget = InboundBudget::new(10);
        let _held = budget.try_acquire(10).expect("free");
        let slow = budget.wait_for_sender(10, Instant::now());
        assert_eq!(budget.acquire(1).await.err(), Some(NoRoom), "it does not react");
        assert!(slow.given_up().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_in_time_is_told() {
        let budget = InboundBudget::new(10);
        let _held = budget.try_acquire(10).expect("free");
        assert_eq!(budget.acquire(1).await.err(), Some(NoRoom));
    }
}
