//! Consensus in the project's own words: Raft groups over the node's store.
//!
//! This is the only crate that knows openraft. A [`Group`] takes proposals and answers when
//! they are committed, applied and as durable as the group's options say; a [`GroupHost`] runs all groups of a node.
//!
//! ```text
//! propose ─▶ openraft core ─▶ LogStore ─▶ GroupLog (journal) ─▶ flushed ─▶ committed
//!                                                                            │
//!                      answer ◀─ StateMachine: GroupLog::apply ◀─────────────┘
//! ```
//!
//! Invariants
//! - a group never restores its leadership from a stored vote: each start is a new term (R11);
//! - `initialize` runs only when the caller says that the metadata calls the group new (R16);
//! - a quarantined group runs no Raft core: it neither votes nor truncates (R1);
//! - a replica that may have lost what it acknowledged does not vote or count as the member that it was (R20).

mod acks;
mod apply_gate;
mod catching_up;
mod convert;
mod doubt;
mod driver;
mod error;
mod follower_room;
mod following;
mod group;
mod hand_over;
mod host;
mod inbound;
mod incarnations;
mod liveness;
mod log_store;
mod membership;
mod message;
mod network;
mod proposal_run;
mod propose;
mod reconcile;
mod recovery;
mod rejoin;
mod repair;
mod runtime;
mod settings;
mod standing;
mod state_machine;
mod survey;
mod throttle;
mod transport;
mod type_config;

pub use error::{ConsensusError, RefusedRequest};
pub use group::{Group, GroupStatus};
pub use highwater_storage::{Durability, Entry, GroupOptions, LogId, Payload, Reservation, ReserveError, Vote};
pub use host::{GroupHost, HostParts, Origin};
pub use liveness::{Ping, Pong};
pub use message::{
    Append, AppendReply, Ballot, BallotReply, BatchesWanted, Identity, Member, PeerReply, PeerRequest, Rejoin,
    Sender, SnapshotTransfer, Surveyed, TakeOver,
};
pub use propose::{Proposal, ProposalHandle, Proposed};
pub use reconcile::{Desired, Reconciled};
pub use recovery::{Standing, make_sole_voter, standing};
pub use repair::{RepairError, RepairedSegment};
pub use standing::MemberStanding;
pub use throttle::{Throttle, Turn};
pub use transport::{NoPeers, Transport, TransportError};
