//! Draws who this node's replicas are to their groups, when they are not what the node's data is.
//!
//! Invariant: none is drawn twice, and each is greater than all before it: those of one process by counting, those of later processes
//! by their epochs. So of two that a leader has heard of, the greater one is the replica that is there.

use highwater_types::{Incarnation, ProcessEpoch};
use parking_lot::Mutex;

/// So many may be drawn in each millisecond that a process lives, which is what epochs count, before they could reach its successor's.
const PER_EPOCH: u64 = 1 << 20;

/// Those of one process.
pub(crate) struct Incarnations {
    last: Mutex<u64>,
}

impl Incarnations {
    /// Of a process.
    pub(crate) fn new(epoch: ProcessEpoch) -> Self {
        Self { last: Mutex::new(epoch.0.saturating_mul(PER_EPOCH)) }
    }

    /// One that no replica of this node had before. `own` is the one of the replica that asks.
    pub(crate) fn draw(&self, own: Option<Incarnation>) -> Incarnation {
        let mut last = self.last.lock();
        *last = own.map_or(*last, |own| own.0.max(*last)).saturating_add(1);
        Incarnation(*last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lives_of_a_replica_have_growing_incarnations_within_a_process_and_across_starts() {
        // As a clock gives them, in the year 2500.
        let epochs = [0, 1, 2, 1_700_000_000_000, 16_700_000_000_000];
        let mut drawn = Vec::new();
        for epoch in epochs {
            let process = Incarnations::new(ProcessEpoch(epoch));
            drawn.extend([None, drawn.last().copied(), None, None].map(|own| process.draw(own)));
        }
        assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]), "{drawn:?}");
        // A replica whose own is ahead, for the clock was.
        let process = Incarnations::new(ProcessEpoch(7));
        let ahead = Incarnation(1 << 60);
        assert!(process.draw(Some(ahead)) > ahead && process.draw(None) > ahead);
    }
}
