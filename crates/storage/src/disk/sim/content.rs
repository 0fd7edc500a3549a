//! The bytes of one simulated file: what is durable, and the page cache above it.
//!
//! Invariants: outside `dirty`, and the pages that a failed sync gave up, cached and durable
//! pages are equal; bytes beyond an image's length are zero, so that extending it shows zeros.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::random::SeededRandom;

/// The unit that is written back as one.
pub(super) const PAGE_BYTES: usize = 4096;
/// The unit that a tear within a page leaves whole.
const SECTOR_BYTES: usize = 512;

type Page = [u8; PAGE_BYTES];

/// One version of a file's bytes. A page that is absent is all zeros.
#[derive(Debug, Clone, Default)]
struct Image {
    pages: BTreeMap<u64, Arc<Page>>,
    length: u64,
}

impl Image {
    /// Fills `out` from `position`; zeros beyond the end.
    fn read(&self, out: &mut [u8], position: u64) {
        for (page, within, part) in spans(position, out.len()) {
            match self.pages.get(&page) {
                Some(bytes) => out[part].copy_from_slice(&bytes[within]),
                None => out[part].fill(0),
            }
        }
    }

    fn write(&mut self, bytes: &[u8], position: u64) {
        for (page, within, part) in spans(position, bytes.len()) {
            let bytes = &bytes[part];
            if bytes.iter().all(|byte| *byte == 0)
                && (bytes.len() == PAGE_BYTES || !self.pages.contains_key(&page))
            {
                self.pages.remove(&page);
                continue;
            }
            let page = self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(page)[within].copy_from_slice(bytes);
        }
        self.length = self.length.max(position + bytes.len() as u64);
    }

    /// Sets the length; what lies beyond becomes zero.
    fn set_len(&mut self, length: u64) {
        if length < self.length {
            drop(self.pages.split_off(&length.div_ceil(PAGE_BYTES as u64)));
            let within = (length % PAGE_BYTES as u64) as usize;
            // A tail that is zero already stays shared with the other image.
            if let Some(page) = self.pages.get_mut(&(length / PAGE_BYTES as u64))
                && page[within..].iter().any(|byte| *byte != 0)
            {
                Arc::make_mut(page)[within..].fill(0);
            }
        }
        self.length = length;
    }

    fn copy_page(&mut self, from: &Self, page: u64) {
        match from.pages.get(&page) {
            Some(bytes) => self.pages.insert(page, Arc::clone(bytes)),
            None => self.pages.remove(&page),
        };
    }

    /// Takes only the sectors of `from`'s page whose bit in `sectors` is set.
    fn tear_page(&mut self, from: &Self, page: u64, sectors: u64) {
        let mut torn = self.pages.get(&page).map_or([0; PAGE_BYTES], |bytes| **bytes);
        let newer = from.pages.get(&page).map_or([0; PAGE_BYTES], |bytes| **bytes);
        for sector in 0..PAGE_BYTES / SECTOR_BYTES {
            if sectors >> sector & 1 == 1 {
                let bytes = sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES;
                torn[bytes.clone()].copy_from_slice(&newer[bytes]);
            }
        }
        self.pages.insert(page, Arc::new(torn));
    }

    fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length as usize];
        self.read(&mut bytes, 0);
        bytes
    }
}

/// One file's bytes, cached and durable.
#[derive(Debug, Default)]
pub(super) struct Content {
    cached: Image,
    durable: Image,
    /// Pages written since they were last synced.
    dirty: BTreeSet<u64>,
    length_is_dirty: bool,
    /// Bytes whose blocks the file owns: allocated ahead, or written.
    owned_bytes: u64,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.cached.length
    }

    /// Bytes that the file takes from the disk's capacity.
    pub(super) fn owned_bytes(&self) -> u64 {
        self.owned_bytes
    }

    /// What the file would own after a write or allocation that ends at `end`, exclusive.
    pub(super) fn owned_after(&self, end: u64) -> u64 {
        self.owned_bytes.max(end.next_multiple_of(PAGE_BYTES as u64))
    }

    pub(super) fn allocate(&mut self, end: u64) {
        self.owned_bytes = self.owned_after(end);
    }

    pub(super) fn read(&self, out: &mut [u8], position: u64) {
        self.cached.read(out, position);
    }

    pub(super) fn write(&mut self, bytes: &[u8], position: u64) {
        if bytes.is_empty() {
            return;
        }
        let end = position + bytes.len() as u64;
        self.owned_bytes = self.owned_after(end);
        self.length_is_dirty |= end > self.cached.length;
        self.cached.write(bytes, position);
        self.dirty.extend(spans(position, bytes.len()).map(|(page, ..)| page));
    }

    pub(super) fn set_len(&mut self, length: u64) {
        let page = PAGE_BYTES as u64;
        if length < self.cached.length {
            self.dirty.extend(length / page..self.cached.length.div_ceil(page));
            self.owned_bytes = length.next_multiple_of(page);
        }
        self.length_is_dirty |= length != self.cached.length;
        self.cached.set_len(length);
    }

    /// Makes all that is dirty durable.
    pub(super) fn sync(&mut self) {
        for page in std::mem::take(&mut self.dirty) {
            self.durable.copy_page(&self.cached, page);
        }
        if std::mem::take(&mut self.length_is_dirty) {
            self.durable.set_len(self.cached.length);
        }
        self.trim_durable();
    }

    /// A failed sync: the dirty pages count as clean, but are not durable.
    pub(super) fn give_up_dirty(&mut self) {
        self.dirty.clear();
        self.length_is_dirty = false;
    }

    /// Writes one dirty page back, as the kernel does by itself at any time.
    pub(super) fn write_back_one(&mut self, random: &mut SeededRandom) {
        if self.dirty.is_empty() {
            return;
        }
        let nth = random.below(self.dirty.len() as u64) as usize;
        let Some(page) = self.dirty.iter().nth(nth).copied() else {
            return;
        };
        self.dirty.remove(&page);
        self.durable.copy_page(&self.cached, page);
        // The length follows the data that was written back, so that the page is part of the file.
        let reached = self.cached.length.min((page + 1) * PAGE_BYTES as u64);
        self.durable.length = self.durable.length.max(reached);
        self.trim_durable();
    }

    /// The power is cut: every dirty page by itself persists, reverts or tears, and so does the length.
    pub(super) fn lose_power(&mut self, random: &mut SeededRandom) {
        for page in std::mem::take(&mut self.dirty) {
            match random.below(8) {
                0..=2 => {}
                3..=5 => self.durable.copy_page(&self.cached, page),
                _ => {
                    let sectors = random.next();
                    self.durable.tear_page(&self.cached, page, sectors);
                }
            }
        }
        if std::mem::take(&mut self.length_is_dirty) {
            let (short, long) = (self.durable.length, self.cached.length);
            let length = match random.below(3) {
                0 => short,
                1 => long,
                _ if short < long => short + random.below(long - short),
                _ => long,
            };
            self.durable.length = length;
        }
        self.trim_durable();
        self.cached = self.durable.clone();
        self.owned_bytes = self.owned_bytes.max(self.cached.length.next_multiple_of(PAGE_BYTES as u64));
    }

    /// Damage from outside: the same bytes change in the cache and on the disk.
    pub(super) fn overwrite(&mut self, bytes: &[u8], position: u64) {
        let extends = position + bytes.len() as u64 > self.cached.length;
        let durable_length = self.durable.length;
        self.cached.write(bytes, position);
        self.durable.write(bytes, position);
        self.durable.length = if extends { self.cached.length } else { durable_length };
        self.trim_durable();
    }

    /// Damage from outside: the file is cut or extended, in the cache and on the disk.
    pub(super) fn truncate(&mut self, length: u64) {
        self.set_len(length);
        self.sync();
        self.durable.set_len(length);
    }

    pub(super) fn cached_bytes(&self) -> Vec<u8> {
        self.cached.to_vec()
    }

    pub(super) fn durable_bytes(&self) -> Vec<u8> {
        self.durable.to_vec()
    }

    /// Restores the invariant that bytes beyond the durable length are zero.
    fn trim_durable(&mut self) {
        let length = self.durable.length;
        self.durable.length = u64::MAX;
        self.durable.set_len(length);
    }
}

/// Splits `length` bytes from `position` at page borders: the page, the range within it, and the
/// range within the caller's buffer.
fn spans(position: u64, length: usize) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = position + done as u64;
        // A remainder of the page's size fits a `usize`.
        let within = (at % PAGE_BYTES as u64) as usize;
        let count = (PAGE_BYTES - within).min(length - done);
        let span = (at / PAGE_BYTES as u64, within..within + count, done..done + count);
        done += count;
        Some(span)
    })
}
