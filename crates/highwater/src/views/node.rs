//! A node as it is shown: what the cluster wants of it, and how it is.

use std::time::Duration;

use highwater_client::v1;
use serde::Serialize;

use crate::output::{Cell, Screen, Table, Tone, bytes, span};

/// What is wanted of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "snake_case")]
pub(crate) enum NodeMode {
    /// It takes replicas and leads.
    Active,
    /// It leads nothing: it is about to be restarted.
    Maintenance,
    /// It holds less and less: it is about to be removed.
    Draining,
    /// A newer node says something that this program does not know.
    Unknown,
}

/// What a node is in the group of the cluster's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "snake_case")]
pub(crate) enum MetadataRole {
    /// It has a vote.
    Voter,
    /// It follows.
    Learner,
    /// It is no member yet.
    Missing,
    /// Nobody can tell.
    Unknown,
}

/// See the module. What only the node itself knows is absent when it did not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct NodeView {
    pub(crate) node_id: u64,
    /// Whether it answered.
    pub(crate) is_reachable: bool,
    pub(crate) mode: NodeMode,
    /// Since when, in milliseconds since 1970; absent when it was never changed.
    pub(crate) mode_since_ms: Option<i64>,
    pub(crate) metadata_role: MetadataRole,
    /// Partitions that it leads.
    pub(crate) leaders: Option<u32>,
    /// Partitions that are placed on it.
    pub(crate) replicas: u32,
    /// Of how many of these it is the preferred leader.
    pub(crate) preferred_leaders: u32,
    /// Replicas that are out of service because what they hold is damaged.
    pub(crate) quarantined: Option<u32>,
    /// Why it serves for reading only, when it does.
    pub(crate) read_only_reason: Option<String>,
    pub(crate) disk_total_bytes: Option<u64>,
    pub(crate) disk_free_bytes: Option<u64>,
    /// What its journal and segments take.
    pub(crate) data_bytes: Option<u64>,
    pub(crate) server_version: Option<String>,
    pub(crate) uptime_ms: Option<u64>,
    pub(crate) metadata_version: Option<u64>,
    /// How long ago the node that was asked heard of it.
    pub(crate) last_seen_ms: Option<u64>,
    /// Why it did not answer.
    pub(crate) error: Option<String>,
    pub(crate) rack: Option<String>,
    /// Where clients reach it.
    pub(crate) address: String,
    /// Where other nodes reach it.
    pub(crate) peer_address: String,
    pub(crate) incarnation: String,
    /// The newest level of features that it knows.
    pub(crate) feature_level_supported: u32,
}

impl From<v1::NodeMode> for NodeMode {
    fn from(mode: v1::NodeMode) -> Self {
        match mode {
            v1::NodeMode::Active => Self::Active,
            v1::NodeMode::Maintenance => Self::Maintenance,
            v1::NodeMode::Draining => Self::Draining,
            v1::NodeMode::Unspecified => Self::Unknown,
        }
    }
}

impl From<v1::NodeStatus> for NodeView {
    fn from(node: v1::NodeStatus) -> Self {
        let (mode, metadata_role) = (node.mode().into(), node.metadata_role());
        let report = node.report.as_ref();
        let told = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Self {
            node_id: node.node_id,
            is_reachable: report.is_some(),
            mode,
            mode_since_ms: node.mode_since_ms,
            metadata_role: match metadata_role {
                v1::MetadataRole::Voter => MetadataRole::Voter,
                v1::MetadataRole::Learner => MetadataRole::Learner,
                v1::MetadataRole::Missing => MetadataRole::Missing,
                v1::MetadataRole::Unspecified => MetadataRole::Unknown,
            },
            leaders: report.map(|report| report.leaders),
            replicas: node.replicas,
            preferred_leaders: node.preferred_leaders,
            quarantined: report.map(|report| report.quarantined),
            read_only_reason: report.and_then(|report| told(&report.read_only_reason)),
            disk_total_bytes: report.map(|report| report.disk_total_bytes),
            disk_free_bytes: report.map(|report| report.disk_free_bytes),
            data_bytes: report.map(|report| report.data_bytes),
            server_version: report.and_then(|report| told(&report.server_version)),
            uptime_ms: report.map(|report| report.uptime_ms),
            metadata_version: report.map(|report| report.metadata_version),
            last_seen_ms: node.last_seen_ms,
            error: node.error.as_ref().map(|error| error.message.clone()),
            rack: told(&node.rack),
            address: node.address.clone(),
            peer_address: node.peer_address.clone(),
            incarnation: node.incarnation.clone(),
            feature_level_supported: node.feature_level_supported,
        }
    }
}

impl NodeView {
    /// How much of its disk is free, from 0 to 100.
    pub(crate) fn disk_free_percent(&self) -> Option<u64> {
        let (free, total) = (self.disk_free_bytes?, self.disk_total_bytes.filter(|total| *total > 0)?);
        u64::try_from(u128::from(free) * 100 / u128::from(total)).ok()
    }

    /// How it is in a word or two.
    pub(crate) fn state(&self) -> Cell {
        let mode = match self.mode {
            NodeMode::Active if self.is_reachable && self.read_only_reason.is_some() => {
                return Cell::toned("read only", Some(Tone::Bad));
            }
            NodeMode::Active if self.is_reachable => return Cell::toned("up", Some(Tone::Good)),
            NodeMode::Active => "",
            NodeMode::Maintenance => "maintenance",
            NodeMode::Draining if self.replicas == 0 => "drained",
            NodeMode::Draining => "draining",
            NodeMode::Unknown => "unknown mode",
        };
        match (self.is_reachable, mode) {
            (true, mode) => Cell::toned(mode, Some(Tone::Notice)),
            (false, "") => Cell::toned("unreachable", Some(Tone::Bad)),
            (false, mode) => Cell::toned(format!("unreachable, {mode}"), Some(Tone::Bad)),
        }
    }

    fn role(&self) -> &'static str {
        match self.metadata_role {
            MetadataRole::Voter => "voter",
            MetadataRole::Learner => "learner",
            MetadataRole::Missing => "joining",
            MetadataRole::Unknown => "?",
        }
    }

    fn uptime(&self) -> String {
        self.uptime_ms.map_or_else(String::new, |ms| span(Duration::from_millis(ms)))
    }

    fn disk(&self) -> String {
        match (self.disk_free_bytes, self.disk_free_percent()) {
            (Some(free), Some(percent)) => format!("{} ({percent}%)", bytes(free)),
            _ => String::new(),
        }
    }

    /// Everything about the node.
    pub(crate) fn render(&self, screen: &Screen) -> String {
        let mut facts: Vec<(&str, Cell)> = Vec::new();
        let mut fact = |name, text: String| facts.push((name, text.into()));
        fact("node", self.node_id.to_string());
        fact("metadata", self.role().to_owned());
        fact("leads", counted_or_unknown(self.leaders));
        fact("replicas", format!("{}, preferred as leader of {}", self.replicas, self.preferred_leaders));
        if let (Some(total), Some(data)) = (self.disk_total_bytes, self.data_bytes) {
            fact("disk", format!("{} free of {}, its data takes {}", self.disk(), bytes(total), bytes(data)));
        }
        if let Some(version) = &self.server_version {
            fact("version", format!("{version}, up for {}", self.uptime()));
        }
        fact("feature level", format!("up to {}", self.feature_level_supported));
        fact("rack", self.rack.clone().unwrap_or_else(|| "none".to_owned()));
        fact("address", format!("{}, for nodes {}", self.address, self.peer_address));
        fact("incarnation", self.incarnation.clone());
        facts.insert(1, ("state", self.state()));
        let mut bad = |name, text: String| facts.insert(2, (name, Cell::toned(text, Some(Tone::Bad))));
        if let Some(error) = &self.error {
            let ago =
                self.last_seen_ms.map(|ms| format!(", last heard of {} ago", span(Duration::from_millis(ms))));
            bad("no answer", format!("{error}{}", ago.unwrap_or_default()));
        }
        if let Some(reason) = &self.read_only_reason {
            bad("read only", reason.clone());
        }
        if let Some(count) = self.quarantined.filter(|count| *count > 0) {
            bad("quarantined", count.to_string());
        }
        let line = |(name, cell): (&str, Cell)| format!("{name:<13}  {}\n", cell.paint(screen));
        facts.into_iter().map(line).collect()
    }
}

/// The nodes, one in a row.
pub(crate) fn node_table(nodes: &[NodeView]) -> Table {
    let headings = [
        "NODE",
        "STATE",
        "LEADS",
        "REPLICAS",
        "QUARANTINED",
        "DISK FREE",
        "METADATA",
        "RACK",
        "VERSION",
        "UP",
        "ADDRESS",
    ];
    let spare = &["UP", "METADATA", "VERSION", "RACK", "DISK FREE", "QUARANTINED"];
    let mut table = Table::new(&headings).spare(spare);
    for node in nodes {
        let quarantined = node.quarantined.filter(|count| *count > 0).map(|count| count.to_string());
        table.row(vec![
            node.node_id.to_string().into(),
            node.state(),
            counted_or_unknown(node.leaders).into(),
            node.replicas.to_string().into(),
            Cell::toned(quarantined.unwrap_or_default(), Some(Tone::Bad)),
            node.disk().into(),
            node.role().to_owned().into(),
            node.rack.clone().unwrap_or_default().into(),
            node.server_version.clone().unwrap_or_default().into(),
            node.uptime().into(),
            node.address.clone().into(),
        ]);
    }
    table
}

fn counted_or_unknown(count: Option<u32>) -> String {
    count.map_or_else(|| "?".to_owned(), |count| count.to_string())
}
