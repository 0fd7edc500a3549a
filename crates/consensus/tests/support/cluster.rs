//! Hosts in one process, over simulated disks and a network whose links a test cuts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use highwater_consensus::{
    ConsensusError, Desired, Durability, Group, GroupHost, HostParts, Member, Origin, PeerReply, PeerRequest,
    Ping, Pong, Proposal, RefusedRequest, ReserveError, Sender, Transport, TransportError,
};
use highwater_storage::disk::SimDisk;
use highwater_storage::{Store, StoreOptions};
use highwater_types::{GroupId, Incarnation, NodeId, Offset, ProcessEpoch, Random, SystemClock, SystemRandom};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Counter, SERVING, batch, group_options, options, partition, small_journal, values};

/// The group of all tests.
pub fn group_id() -> GroupId {
    partition(0)
}

/// Nodes, each with its disk; those that run have a host.
pub struct Cluster {
    net: Arc<Net>,
    disks: Mutex<BTreeMap<NodeId, SimDisk>>,
    seed: u64,
    durability: Durability,
}

#[derive(Default)]
struct Net {
    state: Mutex<NetState>,
}

#[derive(Default)]
struct NetState {
    running: BTreeMap<NodeId, Running>,
    /// Requests that were sent, whether they arrived or not.
    requests: u64,
    /// Links that are cut, from sender to receiver.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Links on which a request takes so long.
    slow: BTreeMap<(NodeId, NodeId), Duration>,
    /// Links on which answers are held back, the oldest first.
    held: BTreeMap<(NodeId, NodeId), VecDeque<oneshot::Sender<()>>>,
    /// Requests to take over, while these are held back.
    late: Option<Vec<BoxFuture<'static, ()>>>,
    epochs: BTreeMap<NodeId, u64>,
    /// How often a node's disk was emptied.
    lives: BTreeMap<NodeId, u64>,
    /// All nodes of the cluster.
    nodes: BTreeSet<NodeId>,
    /// The group's first voters.
    founders: BTreeSet<Member>,
    /// Nodes that know no other.
    newcomers: BTreeSet<NodeId>,
}

struct Running {
    host: Arc<GroupHost>,
    epoch: ProcessEpoch,
    pings: JoinHandle<()>,
    /// Closed when the process is gone, with all its connections.
    gone: watch::Sender<()>,
}

/// The network as one process sees it; a process that was killed reaches nobody.
struct Link {
    net: Arc<Net>,
    from: Sender,
}

impl Link {
    /// The receiver, if what is sent arrives there.
    fn request_arrives(&self, to: NodeId) -> Result<Arc<GroupHost>, TransportError> {
        if self.net.state.lock().newcomers.contains(&self.from.node) {
            return Err(TransportError::Unreachable {
                node: to,
                reason: "its address is not known".to_owned(),
            });
        }
        self.arrives(to, (self.from.node, to))
    }

    /// The answer comes back over the same link, unless that is cut.
    fn answer_arrives(&self, to: NodeId) -> Result<(), TransportError> {
        let arrives = self.arrives(to, (to, self.from.node)).map(drop);
        arrives.map_err(|_| TransportError::Broken { node: to, reason: "no answer".to_owned() })
    }

    /// Completes when the answer of a node is let go.
    async fn until_let_go(&self, to: NodeId) {
        let held = {
            let mut state = self.net.state.lock();
            let Some(held) = state.held.get_mut(&(to, self.from.node)) else { return };
            let (sender, held_back) = oneshot::channel();
            held.push_back(sender);
            held_back
        };
        // Let go by name, or with all others.
        let _ = held.await;
    }

    /// Keeps a request to take over, for a caller that hears nothing of it.
    fn is_late(&self, host: &Arc<GroupHost>, to: Member, group: GroupId, request: &PeerRequest) -> bool {
        let mut state = self.net.state.lock();
        let (Some(late), PeerRequest::TakeOver(_)) = (&mut state.late, request) else { return false };
        let (host, from, request) = (host.clone(), self.from, request.clone());
        late.push(Box::pin(async move {
            host.receive(from, to.incarnation, group, request).await.unwrap();
        }));
        true
    }

    fn arrives(&self, to: NodeId, way: (NodeId, NodeId)) -> Result<Arc<GroupHost>, TransportError> {
        let state = self.net.state.lock();
        let is_cut = state.cut.contains(&way);
        let is_alive = state.running.get(&self.from.node).is_some_and(|own| own.epoch == self.from.epoch);
        match state.running.get(&to) {
            Some(running) if is_alive && !is_cut => Ok(running.host.clone()),
            _ => Err(TransportError::Unreachable { node: to, reason: "no link".to_owned() }),
        }
    }
}

#[async_trait]
impl Transport for Link {
    async fn call(
        &self,
        to: Member,
        group: GroupId,
        request: PeerRequest,
        deadline: Duration,
    ) -> Result<PeerReply, TransportError> {
        let expires = Instant::now() + deadline;
        let timed_out = || TransportError::Timeout { node: to.node, waited_ms: deadline.as_millis() };
        let delay = {
            let mut state = self.net.state.lock();
            state.requests += 1;
            state.slow.get(&(self.from.node, to.node)).copied()
        };
        if let Some(delay) = delay {
            sleep(delay).await;
        }
        let host = self.request_arrives(to.node)?;
        if self.is_late(&host, to, group, &request) {
            sleep(deadline).await;
            return Err(timed_out());
        }
        let mut gone = self.net.state.lock().running.get(&to.node).map(|running| running.gone.subscribe());
        let is_gone = async {
            if let Some(gone) = &mut gone {
                while gone.changed().await.is_ok() {}
            }
        };
        let handled = host.receive(self.from, to.incarnation, group, request);
        let answered = tokio::select! {
            answered = timeout_at(expires, handled) => answered.map_err(|_| timed_out())?,
            () = is_gone => {
                return Err(TransportError::Broken { node: to.node, reason: "it is gone".to_owned() });
            }
        };
        timeout_at(expires, self.until_let_go(to.node)).await.map_err(|_| timed_out())?;
        self.answer_arrives(to.node)?;
        answered.map_err(|refused| TransportError::Refused { node: to.node, reason: refused.to_string() })
    }

    async fn ping(&self, to: NodeId, ping: Ping, _deadline: Duration) -> Result<Pong, TransportError> {
        let host = self.request_arrives(to)?;
        let refused = |error: RefusedRequest| TransportError::Refused { node: to, reason: error.to_string() };
        let pong = host.receive_ping(self.from.node, ping).map_err(refused)?;
        self.answer_arrives(to)?;
        Ok(pong)
    }
}

impl Cluster {
    /// No node yet. The seed is for the disks.
    pub fn new(seed: u64) -> Self {
        Self::with(seed, Durability::Fsync)
    }

    /// The same, with the group's durability.
    pub fn with(seed: u64, durability: Durability) -> Self {
        Self { net: Arc::default(), disks: Mutex::default(), seed, durability }
    }

    /// Starts the first nodes of the cluster, with a group of which all are voters.
    pub async fn start_all(&self, nodes: &[NodeId]) {
        let founders = nodes.iter().map(|node| self.member(*node)).collect();
        self.net.state.lock().founders = founders;
        self.net.state.lock().nodes.extend(nodes);
        for node in nodes {
            self.start(*node).await;
            // Where time is simulated, nodes that began at one instant would stand for election at one instant, again and again.
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
    }

    /// Starts a node, on the disk that it had.
    pub async fn start(&self, node: NodeId) {
        let (disk, is_new) = {
            let mut disks = self.disks.lock();
            let is_new = !disks.contains_key(&node);
            (disks.entry(node).or_insert_with(|| SimDisk::new(self.seed + node.0)).for_process(), is_new)
        };
        let member = self.member(node);
        let (epoch, founders) = {
            let mut state = self.net.state.lock();
            state.nodes.insert(node);
            let epoch = state.epochs.entry(node).or_default();
            *epoch += 1;
            (ProcessEpoch(*epoch), state.founders.clone())
        };
        let options = StoreOptions { power_lost: !is_new, ..options(small_journal()) };
        let store = Store::open(Arc::new(disk), &options, &SystemRandom).unwrap();
        let host = GroupHost::new(HostParts {
            member,
            epoch,
            store,
            clock: Arc::new(SystemClock),
            random: Arc::new(Seeded::new(self.seed << 32 | node.0 << 16 | epoch.0)),
            transport: Arc::new(Link { net: self.net.clone(), from: Sender { node, epoch } }),
        });
        let pings = tokio::spawn(host.watch_nodes());
        self.net
            .state
            .lock()
            .running
            .insert(node, Running { host: host.clone(), epoch, pings, gone: watch::Sender::new(()) });
        self.introduce();
        let origin = match is_new && founders.contains(&member) {
            true => Origin::New(founders),
            false => Origin::Existing,
        };
        let machine = Box::new(Counter::default());
        host.start_group(group_id(), group_options(self.durability), origin, machine).await.unwrap();
    }

    /// Tells every node of all others.
    fn introduce(&self) {
        let state = self.net.state.lock();
        for (node, running) in &state.running {
            let is_known = |peer: &NodeId| peer != node && !state.newcomers.contains(node);
            running.host.set_peers(state.nodes.iter().copied().filter(is_known).collect());
        }
    }

    /// From its next start on the node knows no other, as one whose disk was emptied and that has no metadata yet. It is reached and answers.
    pub fn knows_nobody(&self, node: NodeId) {
        self.net.state.lock().newcomers.insert(node);
    }

    /// A node and the life of its disk.
    pub fn member(&self, node: NodeId) -> Member {
        let life = self.net.state.lock().lives.get(&node).copied().unwrap_or_default();
        Member { node, incarnation: Incarnation(node.0 << 32 | life) }
    }

    /// Kills a node and empties its disk.
    pub fn wipe(&self, node: NodeId) {
        self.kill(node);
        self.disks.lock().remove(&node);
        *self.net.state.lock().lives.entry(node).or_default() += 1;
    }

    /// How many requests the replicas have sent each other so far; the pings between nodes are none.
    pub fn requests(&self) -> u64 {
        self.net.state.lock().requests
    }

    /// Cuts the way from one node to another, and not the way back.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.net.state.lock().cut.insert((from, to));
    }

    /// Has requests from one node to another take so long.
    pub fn slow(&self, from: NodeId, to: NodeId, delay: Duration) {
        self.net.state.lock().slow.insert((from, to), delay);
    }

    /// Holds back what one node answers to another, until it is let go or all links are mended.
    pub fn hold_answers(&self, from: NodeId, to: NodeId) {
        self.net.state.lock().held.entry((from, to)).or_default();
    }

    /// Lets go of the oldest of these answers that is still waited for.
    pub async fn let_one_answer_go(&self, from: NodeId, to: NodeId) {
        let goes = || {
            let mut state = self.net.state.lock();
            let held = state.held.get_mut(&(from, to)).expect("they are held back");
            std::iter::from_fn(|| held.pop_front()).any(|answer| answer.send(()).is_ok())
        };
        super::wait_until(goes).await;
    }

    /// Holds back requests to take over: who sends one hears nothing of it.
    pub fn hold_take_overs(&self) {
        self.net.state.lock().late = Some(Vec::new());
    }

    /// Delivers those requests, and holds back no more.
    pub async fn deliver_take_overs(&self) {
        let late = self.net.state.lock().late.take().expect("they are held back");
        assert!(!late.is_empty(), "nobody was asked to take over");
        for request in late {
            request.await;
        }
    }

    /// The power of a node goes: nobody hears of it again, and what was not synced is gone.
    pub fn kill(&self, node: NodeId) {
        let running = self.net.state.lock().running.remove(&node).expect("it runs");
        running.pings.abort();
        self.disks.lock()[&node].crash();
    }

    /// Cuts a node off from all others.
    pub fn isolate(&self, node: NodeId) {
        let mut state = self.net.state.lock();
        let others: Vec<NodeId> = state.nodes.iter().copied().filter(|other| *other != node).collect();
        state.cut.extend(others.into_iter().flat_map(|other| [(node, other), (other, node)]));
    }

    /// Mends all links.
    pub fn heal(&self) {
        let mut state = self.net.state.lock();
        state.cut.clear();
        state.slow.clear();
        state.held.clear();
    }

    /// The disk of a node, to be damaged.
    pub fn disk(&self, node: NodeId) -> SimDisk {
        self.disks.lock()[&node].clone()
    }

    /// The host of a running node.
    pub fn host(&self, node: NodeId) -> Arc<GroupHost> {
        self.net.state.lock().running[&node].host.clone()
    }

    /// The group on a running node.
    pub fn group(&self, node: NodeId) -> Group {
        self.host(node).group(group_id()).unwrap()
    }

    /// Waits for a leader that serves.
    pub async fn leader(&self) -> NodeId {
        self.leader_among(|_| true).await
    }

    /// The same among some nodes.
    pub async fn leader_among(&self, may_lead: impl Fn(NodeId) -> bool) -> NodeId {
        let serving = async {
            loop {
                let hosts: Vec<Arc<GroupHost>> =
                    self.net.state.lock().running.values().map(|running| running.host.clone()).collect();
                let serves = |host: &&Arc<GroupHost>| {
                    let group = host.group(group_id());
                    may_lead(host.node()) && group.is_some_and(|group| group.status().is_serving)
                };
                if let Some(leader) = hosts.iter().find(serves) {
                    return leader.node();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let served = tokio::time::timeout(SERVING, serving).await;
        served.unwrap_or_else(|_| panic!("a leader serves in time: {}", self.account()))
    }

    /// How the group stands on each node.
    pub fn account(&self) -> String {
        let state = self.net.state.lock();
        let mut account = String::new();
        for (node, running) in &state.running {
            let Some(group) = running.host.group(group_id()) else { continue };
            let (status, log) = (group.status(), group.log());
            let bounds = log.bounds();
            account += &format!(
                "\nnode {node}: {status:?}, vote {:?}, log {bounds:?}, committed {:?}, incarnation {:?}, in doubt {}, asked {}",
                log.vote(),
                log.committed(),
                log.incarnation(),
                log.is_doubtful(),
                group.has_rejoining()
            );
        }
        account
    }

    /// Has `node` take one batch into the log.
    pub async fn produce(&self, node: NodeId, value: u64) -> Result<Offset, ConsensusError> {
        let group = self.group(node);
        let batch = batch(value);
        let reservation = loop {
            let changed = group.log().room_changed();
            match group.log().reserve(batch.size_in_bytes()) {
                Ok(reservation) => break reservation,
                Err(ReserveError::Busy) => changed.await,
                Err(error) => panic!("{error}"),
            }
        };
        group
            .propose(Proposal::Batch { batch, reservation })
            .await
            .map(|proposed| proposed.base_offset.unwrap())
    }

    /// Has a node's replica give up all that it has, and start again.
    pub async fn renew(&self, node: NodeId) {
        let host = self.host(node);
        let options = group_options(self.durability);
        host.renew_group(group_id(), options).await.unwrap();
        let machine = Box::new(Counter::default());
        host.start_group(group_id(), options, Origin::Existing, machine).await.unwrap();
    }

    /// Removes a node's replica with its data, as after a move to another node.
    pub async fn remove(&self, node: NodeId) {
        self.host(node).remove_group(group_id()).await.unwrap();
    }

    /// Starts a replica on a node that runs and has none, in the group that has a past.
    pub async fn place(&self, node: NodeId) {
        let (options, machine) = (group_options(self.durability), Box::new(Counter::default()));
        self.host(node).start_group(group_id(), options, Origin::Existing, machine).await.unwrap();
    }

    /// Whether every node's replica is a voter as it is, and none is in doubt.
    pub fn is_whole(&self) -> bool {
        let nodes = self.net.state.lock().nodes.clone();
        let hosts: Vec<Arc<GroupHost>> =
            self.net.state.lock().running.values().map(|running| running.host.clone()).collect();
        let groups: Vec<Group> = hosts.iter().filter_map(|host| host.group(group_id())).collect();
        let is_member = |group: &Group| group.status().voters.iter().eq([&nodes]) && !group.log().is_doubtful();
        let is_led = groups.iter().any(|group| group.status().is_serving && !group.has_rejoining());
        groups.len() == nodes.len() && is_led && groups.iter().all(is_member)
    }

    /// Brings the members to all nodes, over and over, as a node's broker does for the groups that it leads.
    pub async fn supervise(&self) {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let hosts: Vec<Arc<GroupHost>> =
                self.net.state.lock().running.values().map(|running| running.host.clone()).collect();
            let nodes = self.net.state.lock().nodes.clone();
            let voters = nodes.into_iter().map(|node| self.member(node)).collect();
            let desired = Desired { voters, learners: BTreeSet::new() };
            for host in hosts {
                if let Some(group) = host.group(group_id())
                    && group.status().is_serving
                {
                    // It is tried again.
                    let _ = tokio::time::timeout(Duration::from_secs(5), group.reconcile(&desired)).await;
                }
            }
        }
    }

    /// The committed values on a node.
    pub fn values(&self, node: NodeId) -> Vec<String> {
        values(&self.group(node))
    }
}

/// Randomness that a seed gives (SplitMix64), so that a run can be had again.
pub struct Seeded(AtomicU64);

impl Seeded {
    /// Of a seed.
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Random for Seeded {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}
