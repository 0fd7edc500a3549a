//! Consumer groups as a replicated state machine: who is in a group, which partitions each member reads, and how
//! far the group has got. The protocol is KIP-848's: the server assigns, members say what they own, and a partition is
//! given to a member only when its last owner gave it up or is gone.
//!
//! [`Coordinator`] is the group's side, [`Membership`] a member's.
//!
//! Everything here is pure: no IO, no clock, no randomness. Time and ids are passed in.
//!
//! ```text
//!            requests, ticks, topics changed                       committed records
//!                        │                                                 │
//!                        ▼                                                 ▼
//! the leader:  Coordinator ─▶ Decision { records, answer, wakes }   every replica: GroupsState
//!                 │ sessions, deadlines: not replicated                    │ groups, members, offsets
//!                 └ a GroupsState of its own, ahead by what is in flight   └▶ Coordinator::take_over
//! ```
//!
//! Invariants:
//! - The replicated state changes by records alone, so replicas with the same records hold the same state, and whoever
//!   takes over goes on where the records end. Heartbeats are not logged; a new coordinator gives every
//!   member a whole session.
//! - No two members may own a partition at one time, in their own view.
//! - Group, assignment and member epochs never go back while the group is there.
//! - A member commits only for partitions that it holds, since the epoch that it states or before.
//! - Offsets belong to a topic's id, so those of a deleted topic never apply to its successor.

pub mod assignor;
pub mod codec;
pub mod config;
pub mod coordinator;
pub mod current;
mod deadlines;
pub mod decision;
pub mod error;
pub mod group;
pub mod ids;
pub mod membership;
pub mod partition_set;
mod reconcile;
pub mod record;
pub mod request;
pub mod state;
pub mod subscription;
pub mod time;
pub mod topics;

pub use assignor::Assignor;
pub use config::GroupsConfig;
pub use coordinator::Coordinator;
pub use current::{CurrentAssignment, MemberState};
pub use decision::{Decision, MemberAnswer, Wake};
pub use error::GroupsError;
pub use group::{Group, GroupPhase, Member};
pub use ids::{Epoch, GroupName, InstanceId, MemberId, Revision};
pub use membership::Membership;
pub use partition_set::PartitionSet;
pub use record::{CommittedOffset, GroupChange, GroupHead, GroupKind, GroupRecord, MemberDescription};
pub use request::{CommitRequest, Committer, HeartbeatRequest, JoinRequest, Leave, LeaveRequest, OffsetCommit};
pub use state::GroupsState;
pub use subscription::Subscription;
pub use time::{Now, Uptime};
pub use topics::{TopicCatalog, TopicPartitions, TopicsChange};
