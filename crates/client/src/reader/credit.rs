//! How a reader's credit is shared among its streams. Pure.
//!
//! Credit that was given and not used, and bytes that the user has not taken, are together no more than the total (and a push for
//! each stream). Each stream has the part of the partitions that it reads; while partitions come and go a stream may have to wait for
//! what others still hold.

use std::collections::BTreeMap;

use crate::reader::push_stream::{PushStream, StreamId};
use crate::reader::read_set::ReadingId;
use crate::reader::reading::Reading;

/// Credit goes back when this part of a stream's share was consumed.
const PARTS: u64 = 4;

/// See the module.
#[derive(Debug)]
pub(crate) struct Credit {
    total: u64,
    /// Bytes of readings that are over which the user still holds.
    leaving: BTreeMap<ReadingId, u64>,
}

impl Credit {
    pub(crate) fn new(total: u64) -> Self {
        Self { total, leaving: BTreeMap::new() }
    }

    /// A reading is over.
    pub(crate) fn leave(&mut self, id: ReadingId, reading: &Reading) {
        if reading.unconsumed > 0 {
            self.leaving.insert(id, reading.unconsumed);
        }
    }

    /// The user let go of bytes of a reading that is over.
    pub(crate) fn left(&mut self, id: ReadingId, bytes: u64) {
        if let Some(held) = self.leaving.get_mut(&id) {
            *held = held.saturating_sub(bytes);
            if *held == 0 {
                self.leaving.remove(&id);
            }
        }
    }

    /// The part that so many of the partitions have.
    pub(crate) fn share(&self, partitions: usize, of: usize) -> u64 {
        let wide = |count: usize| u128::try_from(count).unwrap_or(u128::MAX);
        let share = u128::from(self.total).saturating_mul(wide(partitions)) / wide(of).max(1);
        u64::try_from(share).unwrap_or(u64::MAX).max(1)
    }

    /// What may still be given.
    pub(crate) fn available<'a>(
        &self,
        readings: impl Iterator<Item = &'a Reading>,
        streams: impl Iterator<Item = &'a PushStream>,
    ) -> u64 {
        let held: u64 = readings.map(|reading| reading.unconsumed).sum();
        let given: u64 = streams.map(|stream| u64::try_from(stream.credit).unwrap_or(0)).sum();
        self.total.saturating_sub(held + given + self.leaving.values().sum::<u64>())
    }

    /// Gives back what was consumed, in pieces that are worth a message.
    pub(crate) fn give_back(
        &self,
        readings: &BTreeMap<ReadingId, Reading>,
        streams: &mut BTreeMap<StreamId, PushStream>,
    ) {
        let mut held: BTreeMap<StreamId, (usize, u64)> = BTreeMap::new();
        for reading in readings.values() {
            if let Some(id) = reading.stream {
                let (partitions, unconsumed) = held.entry(id).or_default();
                *partitions += 1;
                *unconsumed += reading.unconsumed;
            }
        }
        let mut available = self.available(readings.values(), streams.values());
        for (id, (partitions, unconsumed)) in held {
            let share = self.share(partitions, readings.len());
            let Some(stream) = streams.get_mut(&id) else { continue };
            // A push that went beyond the credit is among what is not consumed, so it is not counted twice.
            let used = unconsumed.saturating_add_signed(stream.credit);
            let free = share.saturating_sub(used).min(available);
            if free > 0 && free >= share / PARTS {
                stream.grant(free);
                available -= free;
            }
        }
    }
}
