//! A replica of a partition: what it is in its group, and how far behind.

use std::time::Duration;

use highwater_client::v1;
use serde::Serialize;

use crate::output::{Cell, Table, Tone, bytes, span};

/// What a replica is in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReplicaRole {
    /// It votes.
    Voter,
    /// It follows and does not count yet, or not any more.
    Learner,
    /// It is wanted and no member yet.
    Missing,
    /// There is no leader to tell.
    Unknown,
}

/// Offsets from one to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct OffsetRange {
    /// The first.
    pub(crate) start: i64,
    /// The first that does not belong to it any more.
    pub(crate) end: i64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct ReplicaView {
    pub(crate) node_id: u64,
    pub(crate) role: ReplicaRole,
    pub(crate) is_leader: bool,
    pub(crate) is_in_sync: bool,
    pub(crate) is_reachable: bool,
    /// Whether the partition moves away from it.
    pub(crate) is_leaving: bool,
    /// Entries of the leader's log that it lacks.
    pub(crate) lag_entries: Option<u64>,
    /// About how many bytes these are.
    pub(crate) lag_bytes: Option<u64>,
    pub(crate) high_watermark: Option<i64>,
    /// How long ago its node was heard of.
    pub(crate) last_seen_ms: Option<u64>,
    /// What is damaged of it, and what is done about that.
    pub(crate) quarantine_reason: Option<String>,
    /// What it does not give out, when only a part is damaged.
    pub(crate) quarantined_ranges: Vec<OffsetRange>,
}

impl From<v1::ReplicaDescription> for ReplicaView {
    fn from(replica: v1::ReplicaDescription) -> Self {
        let role = match replica.role() {
            v1::ReplicaRole::Voter => ReplicaRole::Voter,
            v1::ReplicaRole::Learner => ReplicaRole::Learner,
            v1::ReplicaRole::Missing => ReplicaRole::Missing,
            v1::ReplicaRole::Unspecified => ReplicaRole::Unknown,
        };
        let range = |range: v1::OffsetRange| OffsetRange { start: range.start, end: range.end };
        Self {
            node_id: replica.node_id,
            role,
            is_leader: replica.is_leader,
            is_in_sync: replica.is_in_sync,
            is_reachable: replica.is_reachable,
            is_leaving: replica.is_leaving,
            lag_entries: replica.lag_entries,
            lag_bytes: replica.lag_bytes,
            high_watermark: replica.high_watermark,
            last_seen_ms: replica.last_seen_ms,
            quarantine_reason: Some(replica.quarantine_reason).filter(|reason| !reason.is_empty()),
            quarantined_ranges: replica.quarantined_ranges.into_iter().map(range).collect(),
        }
    }
}

impl ReplicaView {
    /// How it is in a word or two.
    pub(crate) fn state(&self) -> Cell {
        let (text, tone) = if self.quarantine_reason.is_some() {
            ("quarantined", Tone::Bad)
        } else if self.is_leader {
            ("leader", Tone::Good)
        } else if !self.is_reachable {
            ("unreachable", Tone::Bad)
        } else if self.role == ReplicaRole::Unknown {
            ("unknown", Tone::Bad)
        } else if self.is_in_sync {
            ("in sync", Tone::Good)
        } else if self.role == ReplicaRole::Missing {
            ("not begun", Tone::Notice)
        } else {
            ("catching up", Tone::Notice)
        };
        if self.is_leaving {
            Cell::toned(format!("{text}, leaving"), Some(tone))
        } else {
            Cell::toned(text, Some(tone))
        }
    }

    /// What it lacks: nothing if that is nothing, or is not known.
    pub(crate) fn lag(&self) -> Option<String> {
        let entries = self.lag_entries.filter(|entries| *entries > 0)?;
        let size = self.lag_bytes.map(|size| format!(", {}", bytes(size))).unwrap_or_default();
        Some(format!("{entries} {}{size}", if entries == 1 { "entry" } else { "entries" }))
    }

    fn role(&self) -> &'static str {
        match self.role {
            ReplicaRole::Voter => "voter",
            ReplicaRole::Learner => "learner",
            ReplicaRole::Missing => "no member",
            ReplicaRole::Unknown => "?",
        }
    }

    /// What is damaged of it: some offsets, or all of it.
    pub(crate) fn damage(&self) -> Option<String> {
        let reason = self.quarantine_reason.as_ref()?;
        let range = |range: &OffsetRange| format!("{} up to {}", range.start, range.end);
        let ranges: Vec<String> = self.quarantined_ranges.iter().map(range).collect();
        let what = match ranges.as_slice() {
            [] => "is out of service".to_owned(),
            ranges => format!("does not give out offsets {}", ranges.join(", ")),
        };
        Some(format!("the replica on node {} {what}: {reason}", self.node_id))
    }
}

/// The replicas, one in a row.
pub(crate) fn replica_table(replicas: &[ReplicaView]) -> Table {
    let headings = ["NODE", "STATE", "ROLE", "HIGH WATERMARK", "BEHIND", "LAST SEEN"];
    let mut table = Table::new(&headings).spare(&["LAST SEEN", "ROLE", "BEHIND"]);
    for replica in replicas {
        // An answer that is this fresh is no news.
        let seen = replica.last_seen_ms.filter(|_| !replica.is_reachable);
        table.row(vec![
            replica.node_id.to_string().into(),
            replica.state(),
            replica.role().to_owned().into(),
            replica.high_watermark.map_or_else(|| "?".to_owned(), |offset| offset.to_string()).into(),
            replica.lag().unwrap_or_default().into(),
            seen.map_or_else(String::new, |ms| format!("{} ago", span(Duration::from_millis(ms)))).into(),
        ]);
    }
    table
}

/// How far behind these replicas are together, in bytes if that is known of all.
pub(crate) fn lag_of(replicas: &[ReplicaView]) -> String {
    let behind: Vec<&ReplicaView> = replicas.iter().filter(|replica| !replica.is_leaving).collect();
    let entries: u64 = behind.iter().filter_map(|replica| replica.lag_entries).sum();
    if entries == 0 {
        return String::new();
    }
    match behind
        .iter()
        .map(|replica| replica.lag_bytes.or((replica.lag_entries == Some(0)).then_some(0)))
        .sum::<Option<u64>>()
    {
        Some(size) => bytes(size),
        None if entries == 1 => "1 entry".to_owned(),
        None => format!("{entries} entries"),
    }
}
