//! Cluster metadata as a replicated state machine: topics by id, the placement, phase and
//! moves of their partitions, their settings, the registry of nodes and what is wanted of
//! them, blocks of producer ids and the cluster's feature level. Planners, which say what
//! would be a good move, are here too: they read an image and change nothing.
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
//! - A node's incarnation never comes back after the node was removed or had another.
//! - A node is in the cluster for as long as a partition's record names it.

pub mod cluster;
pub mod codec;
pub mod command;
mod decision;
pub mod delta;
pub mod error;
pub mod image;
pub mod node;
pub mod partition;
pub mod partition_move;
pub mod placement;
pub mod plan;
pub mod response;
pub mod retired;
mod shuffle;
pub mod state;
pub mod tombstone;
pub mod topic;

pub use cluster::{ClusterRecord, FeatureLevel, MetadataVersion, RECOVERIES_MAX, Recovery};
pub use command::{ConfigChange, MetadataCommand};
pub use delta::{MetadataChange, MetadataDelta};
pub use error::MetadataError;
pub use image::MetadataImage;
pub use node::{NodeMode, NodeRecord, NodeRegistration};
pub use partition::{PartitionPhase, PartitionRecord, Reassignment};
pub use partition_move::PartitionMove;
pub use placement::{PlacementNode, place};
pub use plan::{DrainPlan, Stuck, plan_balance, plan_drain, plan_metadata_voters};
pub use response::{MetadataResponse, Outcome, Refusal};
pub use retired::{RetiredIncarnation, RetiredIncarnations};
pub use state::{Applied, MetadataState};
pub use tombstone::Tombstone;
pub use topic::TopicRecord;
