//! The way to the leaders of the tour's partitions: an address for each partition that leads to whoever leads it now.
//!
//! Every node is asked who leads; the answer of the newest epoch counts. A connection to a partition's address is passed
//! on to its leader as bytes, and cut when another one leads, so that its client connects again and sends again.

use std::net::SocketAddr;
use std::time::Duration;

use highwater_client::{Client, ClientConfig};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::commands::dev::Layout;
use crate::error::CliError;

/// How often each node is asked.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// How long it may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// The longest a client waits before it connects again.
const RETRY_MAX: Duration = Duration::from_millis(50);

/// Who leads a partition, and since which epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Leader {
    epoch: u64,
    node: Option<u8>,
}

/// See the module. Dropping it cuts all connections.
#[derive(Debug)]
pub(super) struct Routes {
    leaders: watch::Receiver<Vec<Leader>>,
    addresses: Vec<SocketAddr>,
    _tasks: JoinSet<()>,
}

impl Routes {
    /// Returns when every partition has a leader.
    pub(super) async fn open(layout: &Layout, topic: &'static str, partitions: u32) -> Result<Self, CliError> {
        let (found, mut leaders) =
            watch::channel((0..partitions).map(|_| Leader::default()).collect::<Vec<_>>());
        let mut tasks = JoinSet::new();
        for node in layout.ids() {
            let mut config = ClientConfig::new([layout.grpc(node).to_string()]);
            config.request_timeout = ANSWER_MAX;
            tasks.spawn(ask(Client::with_config(config)?, topic, found.clone()));
        }
        let mut addresses = Vec::new();
        for partition in 0..leaders.borrow().len() {
            let listener = TcpListener::bind("127.0.0.1:0").await.map_err(CliError::Start)?;
            addresses.push(listener.local_addr().map_err(CliError::Start)?);
            tasks.spawn(pass_on(listener, layout.clone(), partition, leaders.clone()));
        }
        // The senders are there as long as the tasks are.
        let _ = leaders.wait_for(|leaders| leaders.iter().all(|leader| leader.node.is_some())).await;
        Ok(Self { leaders, addresses, _tasks: tasks })
    }

    /// Who leads each partition, as far as is known.
    pub(super) fn leaders(&self) -> Vec<Option<u8>> {
        self.leaders.borrow().iter().map(|leader| leader.node).collect()
    }

    /// A client of a partition's leader.
    pub(super) fn client(&self, partition: u32) -> Result<Client, CliError> {
        let address = usize::try_from(partition).ok().and_then(|index| self.addresses.get(index));
        let mut config = ClientConfig::new(address.map(SocketAddr::to_string));
        config.backoff_max = RETRY_MAX;
        Ok(Client::with_config(config)?)
    }
}

/// Asks a node for the leaders, for ever.
async fn ask(client: Client, topic: &str, found: watch::Sender<Vec<Leader>>) {
    let admin = client.admin();
    loop {
        // A node that does not answer knows nothing.
        if let Ok(description) = admin.describe_topic(topic, false).await {
            found.send_if_modified(|leaders| {
                let before = leaders.clone();
                for (leader, partition) in leaders.iter_mut().zip(description.partitions) {
                    let node = partition.leader_node_id.and_then(|id| u8::try_from(id).ok());
                    if node.is_some() && partition.leader_epoch > leader.epoch {
                        *leader = Leader { epoch: partition.leader_epoch, node };
                    }
                }
                before != *leaders
            });
        }
        sleep(ASK_EVERY).await;
    }
}

/// Takes connections to a partition, for ever.
async fn pass_on(
    listener: TcpListener,
    layout: Layout,
    partition: usize,
    mut leaders: watch::Receiver<Vec<Leader>>,
) {
    let mut connections = JoinSet::new();
    loop {
        let current = |leaders: &[Leader]| leaders.get(partition).copied().unwrap_or_default();
        let now = current(&leaders.borrow_and_update());
        let moved = async {
            // It is there as long as this task is.
            let _ = leaders.wait_for(|leaders| current(leaders) != now).await;
        };
        tokio::select! {
            accepted = listener.accept() => {
                let (Ok((mut client, _)), Some(node)) = (accepted, now.node) else { continue };
                let address = layout.grpc(node);
                connections.spawn(async move {
                    // What cannot be passed on ends the connection, and the client tries again.
                    if let Ok(mut server) = TcpStream::connect(address).await {
                        let _ = (client.set_nodelay(true), server.set_nodelay(true));
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
            () = moved => connections.shutdown().await,
            Some(_) = connections.join_next() => {}
        }
    }
}
