//! How a process that runs a cluster is asked to start a node again: by a socket in the cluster's folder. The node is
//! then a child of that process like the others, and ends with it.
//!
//! A question is one byte, the node. The answer is the number of its process when it was started, else text that says why not.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// The socket's name.
const SOCKET: &str = "control";
/// How long somebody who connected may take to ask.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long an answer may take: the start waits for the lock of a node that is just ending.
const ANSWER_PATIENCE: Duration = Duration::from_secs(90);

/// The socket in the folder. It is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Control {
    listener: UnixListener,
    path: PathBuf,
}

/// Somebody who asks for a node.
#[derive(Debug)]
pub(super) struct Question {
    /// The node.
    pub(super) node: u8,
    stream: UnixStream,
}

impl Control {
    /// Listens in a folder that is this process's alone.
    pub(super) fn listen(data: &Path) -> io::Result<Self> {
        let path = data.join(SOCKET);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // What a process left behind that was killed.
            Ok(()) | Err(_) => {}
        }
        let (_folder, short) = short_path(data)?;
        Ok(Self { listener: UnixListener::bind(short)?, path })
    }

    /// The next connection. Cancel-safe.
    pub(super) async fn connection(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // One that stays is removed by the next start.
        let _ = fs::remove_file(&self.path);
    }
}

impl Question {
    /// What a connection asks. `None` when it asks nothing.
    pub(super) async fn read(mut stream: UnixStream) -> Option<Self> {
        let node = timeout(PATIENCE, stream.read_u8()).await.ok()?.ok()?;
        Some(Self { node, stream })
    }

    /// Says how it went.
    pub(super) async fn answer(mut self, started: Result<u32, String>) {
        let answer = started.map_or_else(|refusal| refusal, |process| process.to_string());
        // Who asked may be gone.
        let _ = self.stream.write_all(answer.as_bytes()).await;
        let _ = self.stream.shutdown().await;
    }
}

/// Asks for a node; returns its process, or why it was not started.
pub(super) fn ask(data: &Path, node: u8) -> io::Result<Result<u32, String>> {
    let (_folder, short) = short_path(data)?;
    let mut stream = std::os::unix::net::UnixStream::connect(short)?;
    stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
    stream.write_all(&[node])?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.parse().map_err(|_| answer))
}

/// The socket's path by way of a descriptor of its folder, valid as long as that is open: a socket's path may not be
/// longer than about a hundred bytes, and folders are.
fn short_path(data: &Path) -> io::Result<(File, PathBuf)> {
    let folder = File::open(data)?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
    Ok((folder, path.into()))
}
