//! Node to node: long-lived connections between the nodes of a cluster, and consensus' [`Transport`] over them.
//!
//! A node dials each peer once per [`Lane`] for its own requests, and serves the peer's requests on the connections
//! that it accepts. Record batches travel as they are: the body that a producer sent is handed to the socket, and what arrives is
//! read once, into the memory that the log then keeps.
//!
//! ```text
//! consensus ─▶ PeerTransport ─▶ Link (per node and lane) ─▶ Outbox ═══════▶ serve ─▶ Receive ─▶ consensus
//!                                  ▲  one task each                            │  a task per request
//!                                  └───────────────── answers ═════════════════┘
//! ```
//!
//! It never knows what a request means, with one exception: appends to one group that come over one connection
//! are handled in the order of their arrival. It never takes a socket, randomness or an address by itself: they are passed in.
//!
//! Invariants
//! - no length from the wire is used before it is checked against a named limit;
//! - every queue is bounded, and a full one is an error at once, never a wait without end;
//! - a call returns within its deadline, whatever the peer does;
//! - a node that cannot be reached costs at most one attempt per wait, however many calls want it.
//!
//! [`Transport`]: highwater_consensus::Transport

mod admission;
mod append_queues;
mod assembly;
mod call;
mod codec;
mod dialled;
mod error;
mod frame;
mod handshake;
mod identity;
mod lane;
mod limits;
mod link;
mod outbox;
mod question;
mod reachability;
mod reader;
mod receive;
mod refusal_log;
mod serve;
mod served_requests;
mod session;
mod sessions;
mod stream;
mod transport;
mod wire;

pub use admission::{Admission, AdmitAll, NotAdmitted};
pub use codec::decode_frame;
pub use error::{PeerError, RefusalCode};
pub use identity::PeerIdentity;
pub use lane::Lane;
pub use limits::PeerLimits;
pub use receive::Receive;
pub use serve::{ServeOptions, serve};
pub use stream::{Dialer, PeerStream, TcpDialer, accepted};
pub use transport::{PeerOptions, PeerTransport};

/// The versions of the protocol between nodes that this build speaks.
pub const PROTOCOL_VERSIONS: std::ops::RangeInclusive<u32> = wire::VERSION_MIN..=wire::VERSION_MAX;
