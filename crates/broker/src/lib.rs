//! The broker: a typed request finds its owner. Routing, long polls, limits, and the life of
//! the node's partitions.
//!
//! It knows nothing of protocols and connections and does not know who called it. What a
//! batch must be and how it gets into the log is `partition`'s; what metadata means is `controller`'s.
//!
//! ```text
//! request ─▶ image: name → topic → partition ─▶ Hosting: the running partition ─▶ answer
//!                ▲                                   ▲
//!                └── metadata group ──▶ Reconciler ──┘  starts and stops what the image says
//! ```
//!
//! Invariants
//! - an answer to a change means that the next request on this node sees it;
//! - an error never carries an offset;
//! - nothing polls: readers are woken by the partitions that they wait for.

mod admin;
mod broker;
mod budget;
mod cluster;
mod damage;
mod describing;
mod draining;
mod error;
mod fetch;
mod gathered;
mod group_options;
mod groups;
mod handing_over;
mod hosting;
mod known_nodes;
mod leaders;
mod leadership;
mod leaving;
mod maintenance;
mod metadata;
mod node_admin;
mod offsets;
mod overview;
mod power_loss;
mod produce;
mod producer_ids;
mod proposing;
mod reassigning;
mod reconciler;
mod remote;
mod repairing;
mod replicas;
mod report;
mod request;
mod routing;
mod sparing;
mod subscribe;
mod supervisor;
mod topics;
mod waiting_readers;

pub use admin::{
    AddPartitions, AddedPartitions, AlterTopic, CreateTopic, CreatedTopic, DeleteRecords, ListTopics,
    ListedTopics, PartitionDescription, PartitionOffsets, TopicDescription, TopicSummary,
};
pub use broker::{Broker, BrokerOptions, CLIENT_LISTENER, PEER_LISTENER};
pub use budget::{ByteBudget, BytesPermit};
pub use damage::{DamageFigures, DamagedPartition};
pub use error::{BrokerError, LeaderHint};
pub use groups::{
    CommitOffsets, FetchedOffset, GroupDescription, GroupPartitionRef, GroupSummary, Membership,
    MembershipChange, NewOffset,
};
pub use highwater_controller::NodeMode;
pub use highwater_partition::NewRecord;
pub use known_nodes::{KnownNodes, NodeStanding};
pub use node_admin::{NodeDescription, NodeProgress, RemoveNode, StuckPartition};
pub use overview::{ClusterStatus, NodeStatus, PartitionProblem};
pub use produce::PendingProduce;
pub use reassigning::{PartitionRef, Planned, PlannedMove, Reassigning, ReassignmentGoal, ReassignmentPlan};
pub use remote::{Alone, LeadersUpdate, Remote, RemoteProposed};
pub use replicas::{ReplicaRole, ReplicaState};
pub use report::NodeReport;
pub use request::{
    ClusterDescription, ClusterRecovery, Fetch, FetchOutcome, FetchPartition, Fetched, FoundOffset,
    ListedOffsets, OffsetQuery, Produce, ProduceData, Produced, ProducerIdentity, TopicRef,
};
pub use subscribe::{Pushed, StartAt, Subscribe, Subscription};

/// The newest level of features that this build knows.
pub const FEATURE_LEVEL_NEWEST: u32 = highwater_controller::FeatureLevel::NEWEST.0;
