//! The nodes of a run: each a `highwater serve` process in its namespace, on a disk of its own, with a clock of its own.
//! A node that ends by itself is started again after a moment, as a service manager does; how it ended is told.

use std::path::Path;
use std::time::Duration;

use highwater_client::{Client, ClientConfig};
use highwater_crash::CrashError;
use highwater_crash::faults::clock::FakeClock;
use highwater_crash::node::{Launch, Node};
use highwater_crash::power::LoopDisk;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::history::Place;
use crate::network::{Network, Party};
use crate::topics::TOPICS;

/// The nodes.
pub const NODES: [u8; 3] = [1, 2, 3];
/// After so long a service manager starts what ended.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// How often the nodes are looked after.
pub(crate) const LOOK: Duration = Duration::from_millis(20);
/// How long asking one node may take.
const ASKING: Duration = Duration::from_secs(1);

/// One node, and what it stands on.
pub struct Machine {
    /// Its number.
    pub id: u8,
    /// The process.
    pub node: Node,
    /// Where its data is.
    pub disk: LoopDisk,
    /// Its clock, in a run that moves clocks.
    pub clock: Option<FakeClock>,
    /// Whether a fault has it in hand, and whoever plays that looks after it.
    pub held: bool,
    ended_at: Option<Instant>,
}

/// See the module.
pub struct Cluster {
    /// The nodes, in their order.
    pub machines: Vec<Machine>,
    /// The network between them.
    pub network: Network,
    /// Ends that nothing explains.
    unexpected: Vec<String>,
}

impl Cluster {
    /// Makes the network and the disks, and starts no node. `faketime` is the library that shows them another time.
    ///
    /// # Errors
    /// When the machine refuses.
    pub fn make(directory: &Path, disk_mib: u64, faketime: Option<&str>) -> Result<Self, CrashError> {
        let network = Network::make()?;
        let machines = NODES.into_iter().map(|id| machine(directory, id, disk_mib, faketime));
        Ok(Self { machines: machines.collect::<Result<_, _>>()?, network, unexpected: Vec::new() })
    }

    /// One of the nodes.
    pub fn machine(&mut self, id: u8) -> &mut Machine {
        &mut self.machines[usize::from(id - 1)]
    }

    /// Starts every node that does not run.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn start_all(&mut self) -> Result<(), CrashError> {
        self.machines.iter_mut().try_for_each(Machine::start)
    }

    /// A client that is told of all nodes.
    ///
    /// # Errors
    /// Never, for these addresses are addresses.
    pub fn client(&self) -> Result<Client, CrashError> {
        Ok(Client::connect(self.machines.iter().map(|machine| machine.node.address()))?)
    }

    /// A client that is told of one node.
    ///
    /// # Errors
    /// Never, for these addresses are addresses.
    pub fn client_of(id: u8) -> Result<Client, CrashError> {
        Ok(Client::with_config(ClientConfig::new([grpc(id)]))?)
    }

    /// Who leads a partition, by what any node says; `None` when nobody says anything.
    pub async fn leader(&self, place: Place) -> Option<u8> {
        for machine in &self.machines {
            let Ok(client) = Self::client_of(machine.id) else { continue };
            let topic = client.admin();
            let described = timeout(ASKING, topic.describe_topic(TOPICS[place.topic].name, false)).await;
            let Ok(Ok(topic)) = described else { continue };
            let partition = topic.partitions.iter().find(|partition| partition.partition == place.partition);
            let leader = partition.and_then(|partition| partition.leader_node_id);
            if let Some(leader) = leader.and_then(|leader| u8::try_from(leader).ok()) {
                return Some(leader);
            }
        }
        None
    }

    /// Starts what ended by itself, as a service manager does.
    ///
    /// # Errors
    /// When a process cannot be watched or started.
    pub fn look_after(&mut self) -> Result<(), CrashError> {
        for machine in self.machines.iter_mut().filter(|machine| !machine.held) {
            if let Some(status) = machine.node.ended()? {
                machine.ended_at = Some(Instant::now());
                let log = machine.node.log_tail();
                self.unexpected.push(format!("node {} ended with {status}:\n{log}", machine.id));
            }
            if machine.ended_at.is_some_and(|ended| ended.elapsed() >= RESTART_AFTER) {
                machine.start()?;
            }
        }
        Ok(())
    }

    /// Lets so much time pass, looking after the nodes.
    ///
    /// # Errors
    /// As [`Cluster::look_after`].
    pub async fn pass(&mut self, time: Duration) -> Result<(), CrashError> {
        let until = Instant::now() + time;
        loop {
            self.look_after()?;
            if Instant::now() >= until {
                return Ok(());
            }
            sleep(LOOK.min(until - Instant::now())).await;
        }
    }

    /// What the fault explains: that this node ended, if the last that it said was this.
    pub fn explain(&mut self, id: u8, said: &str) {
        let of_node = format!("node {id} ended");
        let is_explained = |end: &String| {
            end.starts_with(&of_node) && end.lines().last().is_some_and(|last| last.contains(said))
        };
        self.unexpected.retain(|end| !is_explained(end));
    }

    /// Ends that nothing explains, since the last time.
    pub fn take_unexpected(&mut self) -> Vec<String> {
        std::mem::take(&mut self.unexpected)
    }

    /// The nodes that do not serve, with what the log of each ends with.
    pub async fn not_ready(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for machine in &self.machines {
            if !is_ready(machine.id).await {
                missing.push(format!(
                    "node {} does not serve; its log:\n{}",
                    machine.id,
                    machine.node.log_tail()
                ));
            }
        }
        missing
    }
}

impl Machine {
    /// Starts the node if it does not run.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(&mut self) -> Result<(), CrashError> {
        self.held = false;
        self.ended_at = None;
        if self.node.process_id().is_ok() { Ok(()) } else { self.node.spawn() }
    }

    /// Kills the node, which stays down.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> Result<(), CrashError> {
        self.held = true;
        self.node.kill()
    }
}

fn machine(directory: &Path, id: u8, disk_mib: u64, faketime: Option<&str>) -> Result<Machine, CrashError> {
    let own = directory.join(format!("machine-{id}"));
    std::fs::create_dir_all(&own).map_err(CrashError::io("creating a machine's directory"))?;
    let disk = LoopDisk::with_size(&own, disk_mib)?;
    let launch = Launch { within: Network::within(id), arguments: vec!["serve".into()], address: grpc(id) };
    let mut node = Node::launched(disk.mounted_at().join("node"), launch);
    node.set_log(directory.join(format!("node-{id}.log")));
    let voters: Vec<String> = NODES.iter().map(|id| format!("{id}@{}", grpc(*id))).collect();
    let others: Vec<String> = NODES.iter().filter(|other| **other != id).map(|id| grpc(*id)).collect();
    let address = Party::Node(id).address();
    let settings = [
        ("NODE_ID", id.to_string()),
        ("INSECURE", "true".to_owned()),
        ("LISTEN_GRPC", grpc(id)),
        ("LISTEN_PEER", format!("{address}:7401")),
        ("LISTEN_HTTP", format!("{address}:7402")),
        ("CLUSTER_FIRST_VOTERS", voters.join(",")),
        ("CLUSTER_SEEDS", others.join(",")),
        // Small, so that checkpoints, rolls and retention happen under so little load.
        ("JOURNAL_FILE_BYTES", "32MiB".to_owned()),
        ("JOURNAL_CHECKPOINT_BYTES", "16MiB".to_owned()),
        ("MAINTENANCE_INTERVAL", "500ms".to_owned()),
    ];
    for (name, value) in settings {
        node.set_environment(format!("HIGHWATER_{name}"), value);
    }
    node.set_environment("HIGHWATER_DATA_DIR", node.data().to_owned());
    let clock = faketime.map(|library| FakeClock::install(&mut node, library, own.join("time"))).transpose()?;
    Ok(Machine { id, node, disk, clock, held: true, ended_at: None })
}

fn grpc(id: u8) -> String {
    format!("{}:7400", Party::Node(id).address())
}

/// Whether a node says that it serves.
async fn is_ready(id: u8) -> bool {
    let asked = timeout(ASKING, async {
        let address = Party::Node(id).address();
        let mut stream = TcpStream::connect(format!("{address}:7402")).await?;
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<bool, std::io::Error>(answer.starts_with(b"HTTP/1.1 200"))
    });
    matches!(asked.await, Ok(Ok(true)))
}
