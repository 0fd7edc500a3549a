//! Where the nodes of a cluster on this machine keep their data and listen. Written down in the cluster's folder when
//! it is born, so that every later start and every fault meets the same nodes.
//!
//! ```text
//! highwater-cluster/
//! ├── cluster.json    how many nodes, and the first port
//! ├── lock            locked by the process that runs the nodes
//! ├── control         the socket on which that process is asked to start a node again
//! ├── node-1/         the data directory of node 1
//! └── node-1.log      what it says
//! ```

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use highwater_server::GRPC_PORT;
use highwater_types::{Random as _, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::error::CliError;

/// The file with the layout.
const FILE: &str = "cluster.json";
/// From one node's first port to the next one's.
const PORTS_PER_NODE: u16 = 10;
/// Where free ports are looked for: below those that systems give to outgoing connections.
const FREE_PORTS: std::ops::Range<u16> = 10_000..30_000;
/// How many places are tried.
const FREE_PORTS_TRIES: u32 = 200;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    data: PathBuf,
    file: File,
}

/// What is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    nodes: u8,
    port: u16,
}

/// HTTP's port of the node whose first port this is.
pub(super) fn http_port(first: u16) -> u16 {
    if first == 0 { 0 } else { first.saturating_add(2) }
}

impl Layout {
    /// The layout of this folder: what is written there, which must agree with what is asked for, or else what is asked for,
    /// which is then written. Port 0 takes free ones.
    pub(crate) fn open(data: PathBuf, nodes: u8, port: Option<u16>) -> Result<Self, CliError> {
        if let Some(found) = Self::recall(&data)? {
            let agrees =
                found.file.nodes == nodes && port.is_none_or(|port| port == 0 || port == found.file.port);
            let other = || CliError::OtherCluster { data, nodes: found.file.nodes, port: found.file.port };
            return if agrees { Ok(found) } else { Err(other()) };
        }
        if data.join("identity").exists() {
            return Err(CliError::SingleNode { data });
        }
        let port = match port.unwrap_or(GRPC_PORT) {
            0 => free_ports(nodes)?,
            port => port,
        };
        if port.checked_add(PORTS_PER_NODE * u16::from(nodes)).is_none() {
            return Err(CliError::PortTooHigh { port, nodes });
        }
        let layout = Self { data, file: File { nodes, port } };
        layout.write().map_err(|cause| layout.failed("write", layout.data.join(FILE), cause))?;
        Ok(layout)
    }

    /// The layout that is written in this folder, if one is.
    pub(crate) fn recall(data: &Path) -> Result<Option<Self>, CliError> {
        let path = data.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            // What is no directory is refused by whoever is to use it as one.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(cause) => return Err(CliError::ClusterFolder { doing: "read", path, cause }),
        };
        let malformed = |reason: String| CliError::ClusterFolder {
            doing: "read",
            path: path.clone(),
            cause: io::Error::new(io::ErrorKind::InvalidData, reason),
        };
        let file: File = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        if file.nodes == 0 || file.port.checked_add(PORTS_PER_NODE * u16::from(file.nodes)).is_none() {
            return Err(malformed(format!("{} nodes from port {}", file.nodes, file.port)));
        }
        Ok(Some(Self { data: data.to_path_buf(), file }))
    }

    fn write(&self) -> io::Result<()> {
        fs::create_dir_all(&self.data)?;
        let temporary = self.data.join("cluster.json.new");
        fs::write(&temporary, serde_json::to_vec(&self.file).map_err(io::Error::from)?)?;
        fs::rename(temporary, self.data.join(FILE))
    }

    /// The cluster's folder.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// How many nodes there are.
    pub(crate) fn nodes(&self) -> u8 {
        self.file.nodes
    }

    /// The first port of the first node.
    pub(crate) fn port(&self) -> u16 {
        self.file.port
    }

    /// The nodes' ids.
    pub(crate) fn ids(&self) -> std::ops::RangeInclusive<u8> {
        1..=self.file.nodes
    }

    /// Whether there is a node of this id.
    pub(crate) fn check(&self, node: u8) -> Result<(), CliError> {
        if self.ids().contains(&node) {
            Ok(())
        } else {
            Err(CliError::NoSuchNode { node, nodes: self.file.nodes })
        }
    }

    /// The data directory of a node.
    pub(crate) fn folder(&self, node: u8) -> PathBuf {
        self.data.join(format!("node-{node}"))
    }

    /// What a node says.
    pub(crate) fn log(&self, node: u8) -> PathBuf {
        self.data.join(format!("node-{node}.log"))
    }

    /// Where a node's gRPC listens.
    pub(crate) fn grpc(&self, node: u8) -> SocketAddr {
        self.address(node, 0)
    }

    /// Where other nodes find it.
    pub(crate) fn peer(&self, node: u8) -> SocketAddr {
        self.address(node, 1)
    }

    /// Where its HTTP listens.
    pub(crate) fn http(&self, node: u8) -> SocketAddr {
        self.address(node, 2)
    }

    fn address(&self, node: u8, listener: u16) -> SocketAddr {
        let port = self.file.port + u16::from(node - 1) * PORTS_PER_NODE + listener;
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// The gRPC addresses of all nodes.
    pub(crate) fn servers(&self) -> Vec<String> {
        self.ids().map(|node| self.grpc(node).to_string()).collect()
    }

    /// What the program is called with to run a node.
    pub(super) fn arguments(&self, node: u8) -> Vec<std::ffi::OsString> {
        // As many as can lose one, if there are so many; the others follow.
        let voters = if self.file.nodes >= 5 {
            5
        } else if self.file.nodes >= 3 {
            3
        } else {
            1
        };
        let voters: Vec<String> = (1..=voters).map(|id| format!("{id}@{}", self.grpc(id))).collect();
        let others: Vec<String> =
            self.ids().filter(|other| *other != node).map(|other| self.grpc(other).to_string()).collect();
        let mut arguments: Vec<std::ffi::OsString> = ["serve", "--stop-with-input"].map(Into::into).into();
        let mut flag = |name: &str, value: std::ffi::OsString| arguments.extend([name.into(), value]);
        flag("--node-id", node.to_string().into());
        flag("--data-dir", self.folder(node).into());
        flag("--listen-grpc", self.grpc(node).to_string().into());
        flag("--listen-peer", self.peer(node).to_string().into());
        flag("--listen-http", self.http(node).to_string().into());
        flag("--cluster-first-voters", voters.join(",").into());
        if !others.is_empty() {
            flag("--cluster-seeds", others.join(",").into());
        }
        arguments
    }

    /// An error of this folder.
    pub(super) fn failed(&self, doing: &'static str, path: PathBuf, cause: io::Error) -> CliError {
        CliError::ClusterFolder { doing, path, cause }
    }
}

/// The first of enough free ports. Somebody else may take them before the nodes do; then these say so.
fn free_ports(nodes: u8) -> Result<u16, CliError> {
    let random = SystemRandom;
    let places = u64::from((FREE_PORTS.end - FREE_PORTS.start) / PORTS_PER_NODE);
    for _ in 0..FREE_PORTS_TRIES {
        let place = u16::try_from(random.next_u64() % places).unwrap_or_default();
        let layout = Layout {
            data: PathBuf::new(),
            file: File { nodes, port: FREE_PORTS.start + place * PORTS_PER_NODE },
        };
        let mut addresses =
            layout.ids().flat_map(|node| [layout.grpc(node), layout.peer(node), layout.http(node)]);
        if addresses.all(|address| TcpListener::bind(address).is_ok()) {
            return Ok(layout.file.port);
        }
    }
    Err(CliError::NoFreePorts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_its_nodes_and_ports_and_refuses_others() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("cluster");
        assert_eq!(Layout::recall(&data).expect("nothing there"), None);
        let born = Layout::open(data.clone(), 3, Some(9000)).expect("born");
        assert_eq!(Layout::open(data.clone(), 3, None).expect("the same"), born);
        assert_eq!(born.servers(), ["127.0.0.1:9000", "127.0.0.1:9010", "127.0.0.1:9020"]);
        for (nodes, port) in [(5, None), (3, Some(9100))] {
            let error = Layout::open(data.clone(), nodes, port).expect_err("another cluster");
            assert!(matches!(error, CliError::OtherCluster { nodes: 3, port: 9000, .. }), "{error}");
        }
        assert!(matches!(born.check(4), Err(CliError::NoSuchNode { node: 4, nodes: 3 })));
        assert!(matches!(born.check(0), Err(CliError::NoSuchNode { .. })));
    }

    #[test]
    fn a_layout_that_is_damaged_or_out_of_bounds_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let texts = [
            "",
            r#"{"nodes":3}"#,
            r#"{"nodes":0,"port":7400}"#,
            r#"{"nodes":9,"port":65500}"#,
            r#"{"nodes":3,"port":1,"x":1}"#,
        ];
        for text in texts {
            fs::write(folder.path().join(FILE), text).expect("written");
            let error = Layout::recall(folder.path()).expect_err(text);
            assert!(matches!(error, CliError::ClusterFolder { .. }), "{text}: {error}");
        }
        let other = folder.path().join("other");
        assert!(matches!(Layout::open(other, 3, Some(65_530)), Err(CliError::PortTooHigh { .. })));
    }

    #[test]
    fn only_the_first_node_founds_and_all_know_the_same_voters() {
        for (nodes, voters) in [(2, 1), (3, 3), (4, 3), (9, 5)] {
            let layout = Layout { data: "d".into(), file: File { nodes, port: 7400 } };
            for node in layout.ids() {
                let arguments = layout.arguments(node);
                let value = |flag: &str| {
                    let at = arguments.iter().position(|argument| argument == flag)?;
                    arguments[at + 1].to_str().map(str::to_owned)
                };
                assert_eq!(value("--cluster-first-voters").map(|list| list.split(',').count()), Some(voters));
                // So that the first finds its cluster again if its folder was deleted.
                assert_eq!(
                    value("--cluster-seeds").map(|list| list.split(',').count()),
                    Some(usize::from(nodes) - 1)
                );
            }
        }
    }
}
