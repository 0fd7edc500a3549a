//! Cluster metadata as a replicated state machine: topics by id, the placement and
//! phase of their partitions, their settings, the registry of nodes, blocks of
//! producer ids and the cluster's feature level.
//!
//! Everything here is pure: no IO, no clock, no randomness. Ids, times and placement are
//! drawn by whoever proposes a command and travel inside it, so that every node that
//! applies the same commands holds the same metadata, bit for bit.
//!
//! ```text
//! proposer:  MetadataState::check(command) ── refused ──▶ MetadataError
//!                │ accepted
//!                ▼ MetadataCommand::encode          (the metadata group replicates the bytes)
//! each node: MetadataState::apply_encoded ─▶ response for the proposer
//!                │                        └▶ MetadataDelta: what changed
//!                ▼
//!            MetadataImage: an immutable view, cheap to clone
//! ```
//!
//! Invariants:
//! - The outcome of a command depends on the state and the command alone, and a refused
//!   command changes nothing.
//! - A command that was applied before is accepted again and changes nothing, but
//!   [`MetadataCommand::AllocateProducerIds`], which hands out another block.
//! - A topic's id is never used twice while anything of it is left in the cluster.

pub mod cluster;
pub mod codec;
pub mod command;
mod decision;
pub mod delta;
pub mod error;
pub mod image;
pub mod node;
pub mod placement;
pub mod response;
pub mod state;
pub mod tombstone;
pub mod topic;

pub use cluster::{ClusterRecord, FeatureLevel, MetadataVersion};
pub use command::{ConfigChange, MetadataCommand};
pub use delta::{MetadataChange, MetadataDelta};
pub use error::MetadataError;
pub use image::MetadataImage;
pub use node::NodeRecord;
pub use placement::{PlacementNode, place};
pub use response::{MetadataResponse, Outcome, Refusal};
pub use state::{Applied, MetadataState};
pub use tombstone::Tombstone;
pub use topic::{PartitionPhase, PartitionRecord, TopicRecord};
