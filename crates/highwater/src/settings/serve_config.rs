//! What `serve` runs with: the node's configuration, and how it logs.

use std::path::PathBuf;

use highwater_server::NodeConfig;

/// See the module. Every field has its row in the table of settings.
#[derive(Debug, Clone)]
pub(crate) struct ServeConfig {
    /// The node's.
    pub(crate) node: NodeConfig,
    /// What is logged, by module.
    pub(crate) log_level: String,
    /// What a line of the log looks like.
    pub(crate) log_format: LogFormat,
}

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object on a line.
    Json,
}

impl ServeConfig {
    /// Before the table's values are put in.
    pub(super) fn blank() -> Self {
        Self { node: NodeConfig::local(PathBuf::new()), log_level: String::new(), log_format: LogFormat::Text }
    }
}
