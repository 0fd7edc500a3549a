//! A node in a process of its own, with its data in a temporary directory.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{BenchError, Usage};

/// A node is ready within this time of its start.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How often a starting node is asked.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// A running node; it is killed when this is dropped.
pub struct Node {
    process: Child,
    grpc: SocketAddr,
    start_time: Duration,
}

impl Node {
    /// Starts `binary` with its data and its log below `directory`, and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be started or does not become ready.
    pub fn start(binary: &Path, directory: &Path) -> Result<Self, BenchError> {
        let (grpc, http) = (free_address()?, free_address()?);
        let log_path = directory.join("log");
        let log = File::create(&log_path).map_err(BenchError::io("creating the node's log"))?;
        let errors = log.try_clone().map_err(BenchError::io("creating the node's log"))?;
        let began = Instant::now();
        let process = Command::new(binary)
            .args(["dev", "--grpc-port", &grpc.port().to_string(), "--http-port", &http.port().to_string()])
            .arg("--data")
            .arg(directory.join("data"))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(BenchError::io(format!("starting {} (is it built?)", binary.display())))?;
        let mut node = Self { process, grpc, start_time: Duration::ZERO };
        while !is_ready(http) {
            let ended = node.process.try_wait().map_err(BenchError::io("watching the node"))?.is_some();
            if ended || began.elapsed() > READY_WITHIN {
                let log = log_path.display().to_string();
                return Err(BenchError::NotReady { seconds: READY_WITHIN.as_secs(), log });
            }
            std::thread::sleep(ASK_EVERY);
        }
        node.start_time = began.elapsed();
        Ok(node)
    }

    /// Where clients connect.
    pub fn address(&self) -> String {
        self.grpc.to_string()
    }

    /// How long it took from its start until it was ready.
    pub fn start_time(&self) -> Duration {
        self.start_time
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// As [`Usage::of`].
    pub fn usage(&self) -> Result<Usage, BenchError> {
        Usage::of(self.process.id())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing more to do about it here.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn free_address() -> Result<SocketAddr, BenchError> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(BenchError::io("finding a free port"))?;
    listener.local_addr().map_err(BenchError::io("finding a free port"))
}

pub(crate) fn is_ready(http: SocketAddr) -> bool {
    let mut answer = [0; 12];
    let asked = TcpStream::connect(http).and_then(|mut stream| {
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        stream.read_exact(&mut answer)
    });
    asked.is_ok() && answer == *b"HTTP/1.1 200"
}
