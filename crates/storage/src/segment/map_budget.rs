//! The budget of open segments: how many may hold a descriptor, a mapping and an index in
//! memory at one time, over all partitions. The least recently used goes first; a segment
//! with bytes that are not synced yet stays, because its descriptor must see a failed sync.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use highwater_types::limits::MAPPED_SEGMENTS_MAX;
use parking_lot::Mutex;

/// Something that holds a descriptor and a mapping, and can let go of them.
pub(crate) trait Evictable: Send + Sync {
    /// When it was last used, on the budget's clock.
    fn last_used(&self) -> u64;
    /// Whether it holds anything.
    fn is_resident(&self) -> bool;
    /// Lets go, unless it is in use or holds what is not durable. Returns whether it holds nothing now.
    fn evict(&self) -> bool;
}

/// How many segments may be open at one time. The limit is kept approximately: segments
/// that cannot be let go count as well and may exceed it.
pub struct MapBudget {
    limit: usize,
    clock: AtomicU64,
    state: Mutex<Residents>,
}

struct Residents {
    members: Vec<Weak<dyn Evictable>>,
    /// Members at which the next sweep is worth its cost.
    sweep_at: usize,
}

impl MapBudget {
    /// A budget of `limit` segments, at least 1.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        let limit = limit.max(1);
        let state = Mutex::new(Residents { members: Vec::new(), sweep_at: limit + 1 });
        Arc::new(Self { limit, clock: AtomicU64::new(0), state })
    }

    /// The node's budget, [`MAPPED_SEGMENTS_MAX`].
    #[must_use]
    pub fn for_node() -> Arc<Self> {
        Self::new(MAPPED_SEGMENTS_MAX)
    }

    /// How many segments are open now.
    #[must_use]
    pub fn resident(&self) -> usize {
        let members = self.state.lock().members.clone();
        members.iter().filter_map(Weak::upgrade).filter(|member| member.is_resident()).count()
    }

    /// The next tick of the clock that [`Evictable::last_used`] counts on.
    pub(crate) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts a member that has just become resident, and evicts others when that is too many.
    pub(crate) fn admit(&self, member: Weak<dyn Evictable>) {
        let mut state = self.state.lock();
        state.members.push(member);
        if state.members.len() >= state.sweep_at {
            self.sweep(&mut state);
        }
    }

    /// Evicts what is too many, after members have become clean.
    pub(crate) fn enforce(&self) {
        let mut state = self.state.lock();
        if state.members.len() > self.limit {
            self.sweep(&mut state);
        }
    }

    fn sweep(&self, state: &mut Residents) {
        let mut members: Vec<Arc<dyn Evictable>> =
            state.members.iter().filter_map(Weak::upgrade).filter(|member| member.is_resident()).collect();
        members.sort_by_cached_key(|member| member.last_used());
        // One in sixteen more than needed, so that not every admission sweeps.
        let slack = self.limit / 16;
        let mut excess = if members.len() > self.limit { members.len() - self.limit + slack } else { 0 };
        members.retain(|member| {
            if excess > 0 && member.evict() {
                excess -= 1;
                return false;
            }
            true
        });
        state.sweep_at = members.len().max(self.limit) + slack.max(1);
        state.members = members.iter().map(Arc::downgrade).collect();
    }
}
