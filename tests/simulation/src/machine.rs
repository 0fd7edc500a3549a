//! One simulated machine: its disk, its clock, and the node that runs on it, life after life.
//!
//! It runs the node as a service manager would: what ends by itself is started again by whoever watches it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use highwater_groups::GroupsConfig;
use highwater_server::{FirstVoter, Listener, Node, NodeConfig, NodeData, NodeFailure, NodeParts, StartError};
use highwater_storage::disk::{Disk as _, SimDisk};
use highwater_storage::journal::JournalOptions;
use highwater_types::NodeId;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::chance::Chance;
use crate::clock::MachineClock;
use crate::network::{self, GRPC_PORT, PEER_PORT, SimNetwork, SimStream};
use crate::trace::Trace;

/// The journal's files are small, so that they are used again and again.
const JOURNAL: JournalOptions = JournalOptions {
    file_bytes: 64 << 10,
    first_file_bytes: 32 << 10,
    checkpoint_bytes: 128 << 10,
    bytes_max: 4 << 20,
    reserve_bytes: 16 << 10,
};
/// The nodes from 1 to this one found the cluster; others join it.
const FIRST_VOTERS: u64 = 3;
/// How long a start may take before somebody would look after it.
pub(crate) const START_WITHIN: Duration = Duration::from_secs(60);

/// What the node on a machine does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Life {
    /// Nothing runs.
    Down,
    /// It recovers, or waits for the others.
    Starting,
    /// It serves.
    Running,
    /// It ended by itself, and why.
    Failed(String),
    /// It ended because it was told to.
    Stopped,
    /// It ended because the cluster goes on without it, and why.
    ShutOut(String),
}

/// See the module.
pub(crate) struct Machine {
    pub(crate) node: NodeId,
    pub(crate) name: String,
    pub(crate) disk: SimDisk,
    pub(crate) clock: Arc<MachineClock>,
    random: Arc<Chance>,
    network: SimNetwork,
    /// After how much silence a member of a consumer group is taken for dead: the same on all machines.
    session_timeout: Duration,
    life: Mutex<Life>,
    stop: Notify,
    trace: Arc<Trace>,
}

/// The host name of a node's machine.
pub(crate) fn name_of(node: u64) -> String {
    format!("node{node}")
}

impl Machine {
    /// A machine numbered from 1. Nothing runs yet.
    pub(crate) fn new(seed: u64, node: u64, trace: Arc<Trace>) -> Self {
        let name = name_of(node);
        let chance = |purpose: &str| Arc::new(Chance::new(seed, &format!("{name} {purpose}")));
        Self {
            node: NodeId(node),
            disk: SimDisk::new(highwater_types::Random::next_u64(&*chance("disk"))),
            clock: Arc::default(),
            random: chance("random"),
            network: SimNetwork::new(chance("network")),
            session_timeout: Duration::from_millis(Chance::new(seed, "session").within(1500..4000)),
            life: Mutex::new(Life::Down),
            stop: Notify::new(),
            trace,
            name,
        }
    }

    /// What its node does now.
    pub(crate) fn life(&self) -> Life {
        self.life.lock().clone()
    }

    /// Says what its node does now.
    pub(crate) fn set_life(&self, life: Life) {
        *self.life.lock() = life;
    }

    /// Asks the node to end in good order.
    pub(crate) fn ask_to_stop(&self) {
        self.stop.notify_one();
    }

    /// Removes all that is on the disk.
    pub(crate) fn empty_disk(&self) {
        let root = Path::new("");
        for name in self.disk.list(root).unwrap_or_default() {
            let path = Path::new(&name);
            if self.disk.remove_file(path).is_err() {
                // A directory, then.
                let _ = self.disk.remove_dir_all(path);
            }
        }
        let _ = self.disk.sync_dir(root);
    }

    /// Flips a bit of some file that is not empty, and says of which.
    pub(crate) fn flip_bit(&self, chance: &Chance) -> Option<(String, u64)> {
        let files = self.disk.files();
        let kinds = ["journal/", "topics/", "checkpoint/"];
        let kind = *chance.pick(&kinds);
        let files: Vec<String> = files.into_iter().filter(|path| path.starts_with(kind)).collect();
        let path = (!files.is_empty()).then(|| chance.pick(&files).clone())?;
        // What lies behind the last byte that is not zero was never written.
        let bytes = self.disk.read_cached(&path).unwrap_or_default();
        let written = bytes.iter().rposition(|byte| *byte != 0)? as u64 + 1;
        let position = chance.below(written);
        let bit = u8::try_from(chance.below(8)).unwrap_or(0);
        self.disk.flip_bit(&path, position, bit).ok()?;
        Some((path, position))
    }

    /// The node's process. It never returns: what comes after its end is for the outside to do.
    pub(crate) async fn run(self: Arc<Self>) {
        self.enter(Life::Starting);
        let end = self.live().await;
        // A process that has ended writes no more.
        self.disk.kill();
        self.enter(end);
        std::future::pending().await
    }

    fn enter(&self, life: Life) {
        self.trace.note(format_args!("{} {life:?}, {} disk operations", self.name, self.disk.op_count()));
        self.set_life(life);
    }

    async fn live(&self) -> Life {
        let failed = |error: &dyn std::fmt::Display| Life::Failed(error.to_string());
        let parts = match self.parts().await {
            Ok(parts) => parts,
            Err(error) => return failed(&error),
        };
        let node = match Node::start_with(self.config(), parts).await {
            Ok(node) => node,
            Err(StartError::Failed(failure)) => return ended(&failure),
            Err(error) => return failed(&error),
        };
        self.enter(Life::Running);
        tokio::select! {
            biased;
            failure = node.failed() => ended(&failure),
            () = self.stop.notified() => match node.shutdown().await {
                Ok(()) => Life::Stopped,
                Err(error) => failed(&error),
            }
        }
    }

    async fn parts(&self) -> std::io::Result<NodeParts> {
        Ok(NodeParts {
            clock: self.clock.clone(),
            random: self.random.clone(),
            data: NodeData::Disk(Arc::new(self.disk.for_process())),
            grpc: network::listen(GRPC_PORT).await?,
            // Nobody asks over HTTP.
            http: Listener::new(
                std::net::SocketAddr::from(([127, 0, 0, 1], 7402)),
                futures_util::stream::pending::<std::io::Result<SimStream>>(),
            ),
            peer: network::listen(PEER_PORT).await?,
            dialer: Arc::new(self.network.clone()),
            dial: self.network.dial(),
            own_thread: false,
        })
    }

    fn config(&self) -> NodeConfig {
        let at = |node: u64, port: u16| format!("{}:{port}", name_of(node));
        let voter = |node| FirstVoter { node: NodeId(node), address: at(node, GRPC_PORT) };
        NodeConfig {
            node: self.node,
            advertised_grpc: Some(at(self.node.0, GRPC_PORT)),
            advertised_peer: Some(at(self.node.0, PEER_PORT)),
            first_voters: (1..=FIRST_VOTERS).map(voter).filter(|_| self.node.0 <= FIRST_VOTERS).collect(),
            seeds: (1..=FIRST_VOTERS)
                .map(|node| at(node, GRPC_PORT))
                .filter(|_| self.node.0 > FIRST_VOTERS)
                .collect(),
            insecure: true,
            shutdown_deadline: Duration::from_secs(2),
            maintenance_interval: Duration::from_secs(1),
            journal: JOURNAL,
            group_shards: 2,
            groups: GroupsConfig::default().with_session_timeout(self.session_timeout),
            ..NodeConfig::local(PathBuf::from("simulated"))
        }
    }
}

/// What a node that could not go on has come to.
fn ended(failure: &NodeFailure) -> Life {
    match failure {
        NodeFailure::ShutOut { reason } => Life::ShutOut(reason.clone()),
        failure => Life::Failed(failure.to_string()),
    }
}
