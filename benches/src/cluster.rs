//! Nodes of one cluster on this machine, each a process of its own, with their data below one directory.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::node::{free_address, is_ready};
use crate::{BenchError, Place, Usage};

/// A node is ready within this time of its start.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// A node that was asked to ends within this time.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// How often a process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The metadata is voted on by this many.
const VOTERS: usize = 3;

/// See the module. The nodes are killed when this is dropped, and their data is removed.
pub struct LocalCluster {
    binary: PathBuf,
    directory: TempDir,
    nodes: Vec<Member>,
}

struct Member {
    grpc: SocketAddr,
    peer: SocketAddr,
    http: SocketAddr,
    /// None while it does not run.
    process: Option<Child>,
}

impl LocalCluster {
    /// Starts `count` nodes, numbered from 1, and waits until all are ready.
    ///
    /// # Errors
    /// When one cannot be started or does not become ready.
    pub fn start(place: &Place, count: usize) -> Result<Self, BenchError> {
        let member = || {
            Ok(Member { grpc: free_address()?, peer: free_address()?, http: free_address()?, process: None })
        };
        let nodes = (0..count).map(|_| member()).collect::<Result<_, BenchError>>()?;
        let (binary, directory) = (place.binary()?, place.temporary_directory()?);
        let mut cluster = Self { binary, directory, nodes };
        for node in cluster.ids() {
            cluster.spawn(node)?;
        }
        for node in cluster.ids() {
            cluster.until_ready(node)?;
        }
        Ok(cluster)
    }

    /// The nodes' numbers.
    pub fn ids(&self) -> std::ops::RangeInclusive<usize> {
        1..=self.nodes.len()
    }

    /// Where clients connect.
    pub fn servers(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.grpc.to_string()).collect()
    }

    /// Asks a node to end, and waits until it has.
    ///
    /// # Errors
    /// When it does not.
    pub fn stop(&mut self, node: usize) -> Result<(), BenchError> {
        let Some(mut process) = self.nodes[node - 1].process.take() else { return Ok(()) };
        // It ends with its standard input.
        drop(process.stdin.take());
        let began = Instant::now();
        while process.try_wait().map_err(BenchError::io("watching a node"))?.is_none() {
            if began.elapsed() > ENDS_WITHIN {
                // It is to be gone in any case; what matters is the error below.
                let _ = process.kill();
                let _ = process.wait();
                return Err(BenchError::NotEnded { seconds: ENDS_WITHIN.as_secs(), log: self.log(node) });
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Ends a node at once, as `kill -9` does, and waits until it is gone.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn kill(&mut self, node: usize) -> Result<(), BenchError> {
        let Some(mut process) = self.nodes[node - 1].process.take() else { return Ok(()) };
        process.kill().map_err(BenchError::io("killing a node"))?;
        process.wait().map(drop).map_err(BenchError::io("waiting for the end of a node"))
    }

    /// Starts a node that was stopped, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn restart(&mut self, node: usize) -> Result<(), BenchError> {
        self.spawn(node)?;
        self.until_ready(node)
    }

    /// Sends a signal, by its name, to a node.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn signal(&self, node: usize, signal: &str) -> Result<(), BenchError> {
        let Some(process) = &self.nodes[node - 1].process else { return Ok(()) };
        let kill = Command::new("kill").arg(format!("-{signal}")).arg(process.id().to_string()).status();
        kill.map(drop).map_err(BenchError::io("sending a signal to a node"))
    }

    /// What all nodes that run have used so far.
    ///
    /// # Errors
    /// As [`Usage::of`].
    pub fn cpu(&self) -> Result<Duration, BenchError> {
        let processes = self.nodes.iter().filter_map(|node| node.process.as_ref());
        Usage::cpu_of(&processes.map(Child::id).collect::<Vec<_>>())
    }

    /// What a node has used since it was started; none of one that does not run.
    ///
    /// # Errors
    /// As [`Usage::of`].
    pub fn usage(&self, node: usize) -> Result<Option<Usage>, BenchError> {
        self.nodes[node - 1].process.as_ref().map(|process| Usage::of(process.id())).transpose()
    }

    fn spawn(&mut self, node: usize) -> Result<(), BenchError> {
        let doing = || BenchError::io(format!("starting {} (is it built?)", self.binary.display()));
        let log = File::options().create(true).append(true).open(self.log(node)).map_err(doing())?;
        let errors = log.try_clone().map_err(doing())?;
        let voters = self.nodes.iter().zip(1..).take(VOTERS).map(|(node, id)| format!("{id}@{}", node.grpc));
        let voters = voters.collect::<Vec<_>>().join(",");
        let member = &self.nodes[node - 1];
        let mut command = Command::new(&self.binary);
        command.args(["serve", "--stop-with-input", "--node-id", &node.to_string()]);
        command.arg("--data-dir").arg(self.directory.path().join(format!("node-{node}")));
        command.args(["--listen-grpc", &member.grpc.to_string(), "--listen-peer", &member.peer.to_string()]);
        command.args(["--listen-http", &member.http.to_string(), "--cluster-first-voters", &voters]);
        if node != 1 {
            let seeds: Vec<String> = self.servers().into_iter().take(VOTERS).collect();
            command.args(["--cluster-seeds", &seeds.join(",")]);
        }
        let process = command.stdin(Stdio::piped()).stdout(log).stderr(errors).spawn().map_err(doing())?;
        self.nodes[node - 1].process = Some(process);
        Ok(())
    }

    fn until_ready(&mut self, node: usize) -> Result<(), BenchError> {
        let began = Instant::now();
        while !is_ready(self.nodes[node - 1].http) {
            let process = self.nodes[node - 1].process.as_mut();
            let ended = process.is_none_or(|process| !matches!(process.try_wait(), Ok(None)));
            if ended || began.elapsed() > READY_WITHIN {
                return Err(BenchError::NotReady { seconds: READY_WITHIN.as_secs(), log: self.log(node) });
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn log(&self, node: usize) -> String {
        self.directory.path().join(format!("node-{node}.log")).display().to_string()
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        for process in self.nodes.iter_mut().filter_map(|node| node.process.as_mut()) {
            // It may have ended by itself; there is nothing more to do about it here.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
