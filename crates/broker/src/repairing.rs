//! Damage of stored records, found before somebody needs them and repaired while other replicas have the same bytes.
//!
//! The **scrub** reads all segments of this node, again and again, at a bounded rate. The **repair** makes what is damaged whole again, within
//! the bound on what replicas take to catch up: what the scrub found, what a reader met, and what an earlier process left a mark for.
//!
//! A replica with damaged segments stays a member: its journal, its vote and its run table are whole, and what it cannot read it does
//! not give out.

use std::sync::Arc;
use std::time::Duration;

use highwater_consensus::{Group, RepairError, Throttle};
use highwater_storage::disk::blocking;
use highwater_storage::segment::{DamagedSegment, ScrubStep, SegmentScrub, SegmentedLog};
use highwater_types::{Offset, PartitionId};
use tokio::time::{sleep, timeout};

use crate::broker::Broker;
use crate::damage::damaged_of;

/// Bytes that the scrub reads in one turn.
const SCRUB_TURN_BYTES: u64 = 256 << 10;
/// How long the scrub rests between two rounds.
const SCRUB_PAUSE: Duration = Duration::from_secs(60);
/// How often the repair looks for damage that nobody told it of, and tries again what it could not repair.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Scrubs this node's segments, until the broker stops.
pub(crate) async fn scrub(broker: Arc<Broker>) {
    let throttle = Throttle::new(broker.options.scrub_bytes_per_second);
    let stopping = broker.stopping.clone();
    let rounds = async {
        loop {
            for (id, _) in broker.hosting.groups() {
                broker.scrub_partition(id, &throttle).await;
            }
            broker.damage.scrub_round_ended();
            sleep(SCRUB_PAUSE).await;
        }
    };
    tokio::select! {
        () = stopping.cancelled() => {}
        () = rounds => {}
    }
}

/// Repairs this node's damaged segments, until the broker stops.
pub(crate) async fn repair(broker: Arc<Broker>) {
    let stopping = broker.stopping.clone();
    let work = async {
        loop {
            let damaged: Vec<_> = broker.damaged_groups().collect();
            broker.damage.forget_all_but(&damaged.iter().map(|(id, _)| *id).collect());
            for (id, group) in damaged {
                broker.repair_partition(id, &group).await;
            }
            // Time passing is as good a reason to look as being told.
            let _ = timeout(LOOK_AGAIN, broker.damage.met.notified()).await;
        }
    };
    tokio::select! {
        () = stopping.cancelled() => {}
        () = work => {}
    }
}

impl Broker {
    async fn scrub_partition(&self, id: PartitionId, throttle: &Throttle) {
        let mut from = Offset::ZERO;
        loop {
            // Looked up anew for each segment: the partition may have left this node meanwhile.
            let group = self.hosting.group(id);
            let Some(segments) = group.and_then(|group| group.log().segments().cloned()) else { return };
            let Some(scrub) = segments.scrub(from) else { return };
            from = scrub.next();
            self.scrub_segment(id, &segments, scrub, throttle).await;
        }
    }

    async fn scrub_segment(
        &self,
        id: PartitionId,
        segments: &Arc<SegmentedLog>,
        mut scrub: SegmentScrub,
        throttle: &Throttle,
    ) {
        loop {
            let turn = throttle.turn().await;
            let stepped = blocking(&**segments.disk(), move || {
                let step = scrub.step(SCRUB_TURN_BYTES);
                (scrub, step)
            });
            let (stepped, step) = stepped.await;
            scrub = stepped;
            match step {
                Ok(ScrubStep { bytes, is_done, is_damaged }) => {
                    turn.used(bytes);
                    self.damage.scrubbed(bytes, is_damaged);
                    if is_done {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(partition = %id, segment = %scrub.base(), %error, "a segment could not be scrubbed; the next round tries again");
                    return;
                }
            }
        }
    }

    /// Repairs what is damaged of a partition, as far as that is possible now.
    async fn repair_partition(&self, id: PartitionId, group: &Group) {
        if group.status().quarantined.is_some() {
            return;
        }
        loop {
            let Some(first) = damaged_of(group).into_iter().next() else { return };
            match self.hosting.host().repair_segment(group).await {
                Ok(Some(repaired)) => {
                    let DamagedSegment { base, next, size_bytes, .. } = repaired.damaged;
                    let fetched_bytes = repaired.fetched_bytes;
                    tracing::warn!(
                        partition = %id, from = %base, below = %next, size_bytes, fetched_bytes,
                        "a damaged segment was repaired from other replicas"
                    );
                    self.damage.repaired(id, base, size_bytes, fetched_bytes);
                }
                Ok(None) => return,
                Err(error) => return self.tell_of_failed_repair(id, &first, &error),
            }
        }
    }

    fn tell_of_failed_repair(&self, id: PartitionId, segment: &DamagedSegment, error: &RepairError) {
        if let RepairError::Adopting(error) = error {
            tracing::error!(partition = %id, %error, "a repaired segment could not be put in its place: the node must end");
            return self.report_disk_failure(error.to_string());
        }
        let (base, next) = (segment.base, segment.next);
        let reason = error.to_string();
        if self.damage.not_repaired(id, base, &reason) {
            tracing::error!(
                partition = %id, from = %base, below = %next, file = %segment.file.display(), damage = %segment.damage, reason,
                "offsets of the partition are out of service here: their segment is damaged and could not be repaired yet"
            );
        }
    }
}
