//! What all handles of one simulated disk share, behind one lock.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;

use super::content::Content;
use super::faults::Faults;
use super::interruption::Interruption;
use super::names::{Inode, Names};
use super::random::SeededRandom;

/// What a disk without a limit says it has free.
const UNLIMITED_FREE_BYTES: u64 = 1 << 40;
/// One in so many writes is followed by the write-back of some dirty page.
const WRITE_BACK_ONE_IN: u64 = 16;

/// One file, whether it still has a name or is only held open.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) content: Content,
    /// Open files and mappings.
    pub(super) handles: usize,
}

/// The state of the disk.
#[derive(Debug)]
pub(super) struct State {
    pub(super) seed: u64,
    pub(super) names: Names,
    pub(super) nodes: BTreeMap<Inode, Node>,
    pub(super) random: SeededRandom,
    pub(super) faults: Faults,
    pub(super) interruption: Interruption,
    /// How long a sync of the journal takes; empty for no time.
    pub(super) sync_delay_ms: Range<u64>,
    /// Bytes that all files together may own.
    pub(super) capacity: Option<u64>,
    /// Counts processes: it goes up when one dies, and handles of an older one are dead.
    pub(super) process: u64,
    /// Counts boots of the simulated machine.
    pub(super) boot: u64,
    /// Mutating operations so far.
    pub(super) operations: u64,
    /// The power is cut once this many mutating operations were made.
    pub(super) cut_at: Option<u64>,
    /// Whether some file may have lost its last name, so that it is worth looking for such.
    pub(super) has_orphans: bool,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            names: Names::new(),
            nodes: BTreeMap::new(),
            random: SeededRandom::new(seed),
            faults: Faults::default(),
            interruption: Interruption::default(),
            sync_delay_ms: 0..0,
            capacity: None,
            process: 0,
            boot: 0,
            operations: 0,
            cut_at: None,
            has_orphans: false,
        }
    }

    /// Refuses when the power is cut or the handle's process is dead.
    pub(super) fn check_alive(&self, process: Option<u64>) -> io::Result<()> {
        if process.is_some_and(|process| process != self.process) {
            return Err(io::Error::other("the simulated process of this handle is dead"));
        }
        if self.is_cut() {
            return Err(io::Error::other("simulated power cut"));
        }
        Ok(())
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut_at.is_some_and(|limit| self.operations >= limit)
    }

    /// The process dies: all that it held open is gone, the page cache stays.
    pub(super) fn end_process(&mut self) {
        self.process += 1;
        for node in self.nodes.values_mut() {
            node.handles = 0;
        }
        self.has_orphans = true;
        self.forget_unreachable();
    }

    /// The power is cut and comes back.
    pub(super) fn lose_power(&mut self) {
        self.boot += 1;
        self.cut_at = None;
        self.names.lose_power(&mut self.random);
        for node in self.nodes.values_mut() {
            node.content.lose_power(&mut self.random);
        }
        self.end_process();
    }

    /// Drops files that no name leads to any more, now or after a crash, and that nobody holds open.
    pub(super) fn forget_unreachable(&mut self) {
        if !self.has_orphans {
            return;
        }
        let reachable = self.names.reachable();
        self.has_orphans = self.nodes.keys().any(|inode| !reachable.contains(inode));
        self.nodes.retain(|inode, node| node.handles > 0 || reachable.contains(inode));
    }

    pub(super) fn free_bytes(&self) -> u64 {
        let Some(capacity) = self.capacity else {
            return UNLIMITED_FREE_BYTES;
        };
        capacity.saturating_sub(self.owned_bytes())
    }

    /// Bytes that all files together own, those too that have no name any more and are held open.
    pub(super) fn owned_bytes(&self) -> u64 {
        let named = self.names.named_files();
        let counts = |(inode, node): &(&Inode, &Node)| node.handles > 0 || named.contains(inode);
        self.nodes.iter().filter(counts).map(|(_, node)| node.content.owned_bytes()).sum()
    }

    /// How long the next sync of the journal takes; `None` for no time.
    pub(super) fn draw_sync_delay(&mut self) -> Option<Duration> {
        let Range { start, end } = self.sync_delay_ms;
        (start < end).then(|| Duration::from_millis(start + self.random.below(end - start)))
    }

    pub(super) fn total_bytes(&self) -> u64 {
        self.capacity.unwrap_or(UNLIMITED_FREE_BYTES)
    }

    /// The node of a file that is open, and so exists.
    pub(super) fn node(&mut self, inode: Inode) -> &mut Node {
        self.nodes.get_mut(&inode).expect("an open file's node stays")
    }

    /// Writes all of `bytes`, or as much as the faults and the free space let through.
    pub(super) fn write(&mut self, inode: Inode, path: &Path, bytes: &[u8], position: u64) -> io::Result<()> {
        if let Err(error) = self.faults.check_write(path) {
            let written = self.random.below(bytes.len() as u64 + 1) as usize;
            self.write_part(inode, &bytes[..written], position);
            return Err(error);
        }
        let Some(_) = self.capacity else {
            self.write_part(inode, bytes, position);
            return Ok(());
        };
        let content = &self.node(inode).content;
        let owned = content.owned_bytes();
        let needed = content.owned_after(position + bytes.len() as u64) - owned;
        let free = self.free_bytes();
        if needed <= free {
            self.write_part(inode, bytes, position);
            return Ok(());
        }
        let end = owned.saturating_add(free);
        // At most the length of `bytes`, which is a `usize`.
        let fits = end.saturating_sub(position).min(bytes.len() as u64) as usize;
        self.write_part(inode, &bytes[..fits], position);
        Err(Errno::NOSPC.into())
    }

    /// Reserves blocks up to `length`.
    pub(super) fn allocate(&mut self, inode: Inode, length: u64) -> io::Result<()> {
        let content = &self.node(inode).content;
        let needed = content.owned_after(length) - content.owned_bytes();
        if needed > self.free_bytes() {
            return Err(Errno::NOSPC.into());
        }
        self.node(inode).content.allocate(length);
        Ok(())
    }

    fn write_part(&mut self, inode: Inode, bytes: &[u8], position: u64) {
        let writes_back = self.random.below(WRITE_BACK_ONE_IN) == 0;
        let Self { nodes, random, .. } = self;
        if let Some(node) = nodes.get_mut(&inode) {
            node.content.write(bytes, position);
            if writes_back {
                node.content.write_back_one(random);
            }
        }
    }
}
