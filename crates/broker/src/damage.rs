//! What of this node's stored records is known to be damaged, and what was done about it: for people, and for those who watch the node.
//!
//! A replica can be out of service as a whole, or lack a few segments, which are being repaired ([`crate::repairing`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use highwater_consensus::Group;
use highwater_storage::segment::DamagedSegment;
use highwater_types::{Offset, PartitionId, PartitionIndex};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::broker::Broker;

/// What was found and repaired since the node started.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    /// Told when damage was met.
    pub(crate) met: Notify,
    scrubbed_bytes: AtomicU64,
    scrub_rounds: AtomicU64,
    scrub_findings: AtomicU64,
    repaired_segments: AtomicU64,
    repaired_bytes: AtomicU64,
    fetched_bytes: AtomicU64,
    failed_repairs: AtomicU64,
    /// Why segments could not be repaired yet, by their first offset.
    not_repaired: Mutex<BTreeMap<(PartitionId, Offset), String>>,
}

impl Damage {
    pub(crate) fn scrubbed(&self, bytes: u64, is_damaged: bool) {
        self.scrubbed_bytes.fetch_add(bytes, Ordering::Relaxed);
        if is_damaged {
            self.scrub_findings.fetch_add(1, Ordering::Relaxed);
            self.met.notify_one();
        }
    }

    pub(crate) fn scrub_round_ended(&self) {
        self.scrub_rounds.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn repaired(&self, id: PartitionId, base: Offset, size_bytes: u64, fetched_bytes: u64) {
        self.repaired_segments.fetch_add(1, Ordering::Relaxed);
        self.repaired_bytes.fetch_add(size_bytes, Ordering::Relaxed);
        self.fetched_bytes.fetch_add(fetched_bytes, Ordering::Relaxed);
        self.not_repaired.lock().remove(&(id, base));
    }

    /// Notes why a segment is not repaired; says whether that is news.
    pub(crate) fn not_repaired(&self, id: PartitionId, base: Offset, reason: &str) -> bool {
        self.failed_repairs.fetch_add(1, Ordering::Relaxed);
        let known = self.not_repaired.lock().insert((id, base), reason.to_owned());
        known.as_deref() != Some(reason)
    }

    /// Forgets why segments of other partitions could not be repaired.
    pub(crate) fn forget_all_but(&self, damaged: &BTreeSet<PartitionId>) {
        self.not_repaired.lock().retain(|(id, _), _| damaged.contains(id));
    }
}

/// What is damaged of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplicaDamage {
    /// What it is, and what is done about it.
    pub(crate) reason: String,
    /// The offsets that are not given out: each from the first to below the second.
    pub(crate) ranges: Vec<(Offset, Offset)>,
}

/// Figures about damage on this node, and about what replicas take to catch up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DamageFigures {
    /// Bytes that the scrub has read.
    pub scrubbed_bytes: u64,
    /// How often it has been through everything.
    pub scrub_rounds: u64,
    /// Segments that it found damaged.
    pub scrub_findings: u64,
    /// Partitions that are out of service here as a whole.
    pub quarantined_partitions: u64,
    /// Segments that are known to be damaged.
    pub quarantined_segments: u64,
    /// Bytes of these.
    pub quarantined_bytes: u64,
    /// Segments that were made whole.
    pub repaired_segments: u64,
    /// Bytes of these.
    pub repaired_bytes: u64,
    /// The part of these that came from other replicas.
    pub fetched_bytes: u64,
    /// Attempts to repair a segment that failed.
    pub failed_repairs: u64,
    /// Bytes that replicas which catch up and repairs took, of what is bounded.
    pub caught_up_bytes: u64,
}

/// A partition of which this node's replica is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub index: PartitionIndex,
    /// How many of its segments are known to be damaged.
    pub segments: u64,
}

impl Broker {
    /// Figures about damage, for people who watch the node.
    pub fn damage_figures(&self) -> DamageFigures {
        let damage = &self.damage;
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let quarantined = self.hosting.damaged().len();
        let segments: Vec<DamagedSegment> =
            self.damaged_groups().flat_map(|(_, group)| damaged_of(&group)).collect();
        DamageFigures {
            scrubbed_bytes: read(&damage.scrubbed_bytes),
            scrub_rounds: read(&damage.scrub_rounds),
            scrub_findings: read(&damage.scrub_findings),
            quarantined_partitions: quarantined as u64,
            quarantined_segments: segments.len() as u64,
            quarantined_bytes: segments.iter().map(|segment| segment.size_bytes).sum(),
            repaired_segments: read(&damage.repaired_segments),
            repaired_bytes: read(&damage.repaired_bytes),
            fetched_bytes: read(&damage.fetched_bytes),
            failed_repairs: read(&damage.failed_repairs),
            caught_up_bytes: self.hosting.host().catch_up().used_bytes(),
        }
    }

    pub(crate) fn damaged_groups(&self) -> impl Iterator<Item = (PartitionId, Group)> {
        let is_damaged = |group: &Group| group.log().segments().is_some_and(|segments| segments.is_damaged());
        self.hosting.groups().into_iter().filter(move |(_, group)| is_damaged(group))
    }

    /// The partitions of which this node's replica is damaged, wholly or in part.
    pub fn damaged_partitions(&self) -> Vec<DamagedPartition> {
        let image = self.image();
        let damaged = self.damaged_replicas().into_iter().filter_map(|(id, _)| {
            let topic = image.topic(id.topic)?.name.as_str().to_owned();
            let segments = self.hosting.group(id).map_or(0, |group| damaged_of(&group).len() as u64);
            Some(DamagedPartition { topic, index: id.index, segments })
        });
        damaged.collect()
    }

    /// What is damaged of this node's replica of a partition.
    pub(crate) fn damage_of(&self, id: PartitionId) -> Option<ReplicaDamage> {
        let damaged = self.hosting.group(id).map(|group| damaged_of(&group)).unwrap_or_default();
        let ranges = damaged.iter().map(|segment| (segment.base, segment.next)).collect();
        let reason = match self.hosting.damage(id) {
            Some(reason) => reason,
            None => self.told_of(id, damaged.first()?),
        };
        Some(ReplicaDamage { reason, ranges })
    }

    /// What is said of a damaged segment.
    fn told_of(&self, id: PartitionId, segment: &DamagedSegment) -> String {
        let not_repaired = self.damage.not_repaired.lock();
        let repair = match not_repaired.get(&(id, segment.base)) {
            Some(reason) => format!("it is not repaired yet: {reason}"),
            None => "it is being repaired from the other replicas".to_owned(),
        };
        let DamagedSegment { file, position, damage, .. } = segment;
        format!("{} is damaged at position {position}: {damage}; {repair}", file.display())
    }

    /// The replicas of this node of which something is damaged, and what.
    pub(crate) fn damaged_replicas(&self) -> Vec<(PartitionId, String)> {
        let whole = self.hosting.damaged().into_iter().map(|(id, _)| id);
        let ids: BTreeSet<PartitionId> = whole.chain(self.damaged_groups().map(|(id, _)| id)).collect();
        ids.into_iter().filter_map(|id| Some((id, self.damage_of(id)?.reason))).collect()
    }
}

/// The damaged segments of a group's log.
pub(crate) fn damaged_of(group: &Group) -> Vec<DamagedSegment> {
    group.log().segments().map(|segments| segments.damaged()).unwrap_or_default()
}
