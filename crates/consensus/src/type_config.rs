//! The types that openraft is instantiated with.

use std::fmt;

use bytes::Bytes;
use highwater_records::{Batch, StampedBatch};
use highwater_types::Offset;
use openraft::impls::{BoxedErrorSource, InlineBatch, OneshotResponder, Vote, leader_id_std};
use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, OptionalSend, RaftTypeConfig};

use crate::membership::MemberInfo;
use crate::proposal_run::Ticket;
use crate::runtime::Runtime;

/// openraft's type parameters. One leader per term, so a log id is a term and an index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Types;

impl RaftTypeConfig for Types {
    type D = Command;
    type R = Response;
    type NodeId = u64;
    type Node = MemberInfo;
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = Vote<Self::LeaderId>;
    type Payload = EntryPayload<Self::D, Self::NodeId, Self::Node>;
    type Entry = openraft::Entry<<Self::LeaderId as RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = Runtime;
    type Responder<T>
        = OneshotResponder<Self, T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

/// What an entry carries for us.
#[derive(Clone)]
pub(crate) enum Command {
    /// A batch as its producer built it; the log stamps it.
    Proposed(Batch, Ticket),
    /// A batch with its offset and epoch.
    Stamped(StampedBatch),
    /// A command of the state machine above the log.
    Control(Bytes),
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proposed(batch, _) => write!(f, "a proposed batch of {} bytes", batch.size_in_bytes()),
            Self::Stamped(batch) => write!(f, "the batch at offset {}", batch.base_offset()),
            Self::Control(bytes) => write!(f, "a command of {} bytes", bytes.len()),
        }
    }
}

/// What applying an entry answers.
#[derive(Debug)]
pub(crate) enum Response {
    /// The entry took effect.
    Applied {
        /// A batch's first offset.
        base_offset: Option<Offset>,
        /// The state machine's answer.
        response: Bytes,
    },
    /// The log made a blank entry of the batch, because one proposed before it is missing.
    Overtaking,
}
