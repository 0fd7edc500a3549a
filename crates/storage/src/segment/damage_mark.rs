//! What is known to be damaged of one segment, until its bytes were replaced by whole ones.
//!
//! A marked segment is never read through a mapping, where a page that cannot be read would be a signal, and every batch
//! that is read of it has its checksum checked first.

use std::sync::atomic::{AtomicBool, Ordering};

use highwater_types::FilePosition;
use parking_lot::Mutex;

use super::error::Damage;

/// The mark of one segment. Set once; a repair replaces the segment, and with it the mark.
#[derive(Debug, Default)]
pub(crate) struct DamageMark {
    is_set: AtomicBool,
    found: Mutex<Option<FoundDamage>>,
}

/// The damage that was found first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundDamage {
    pub(crate) position: FilePosition,
    pub(crate) damage: Damage,
}

impl DamageMark {
    /// Whether damage was found.
    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// Notes damage; says whether it is the first.
    pub(crate) fn set(&self, position: FilePosition, damage: &Damage) -> bool {
        let mut found = self.found.lock();
        if found.is_some() {
            return false;
        }
        *found = Some(FoundDamage { position, damage: damage.clone() });
        self.is_set.store(true, Ordering::Release);
        true
    }

    /// What was found first.
    pub(crate) fn found(&self) -> Option<FoundDamage> {
        self.found.lock().clone()
    }
}
