//! The network of a run: a namespace for each node, joined by a bridge in the namespace of this process, where the clients
//! are. Faults are firewall rules in a node's own namespace, so that either direction of any link can be cut alone.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::Command;

use highwater_crash::CrashError;
use highwater_crash::node::{run, run_with_input};

use crate::cluster::NODES;

/// The address of the clients.
const CLIENTS: &str = "10.77.0.254";
/// The table that all rules of a fault are in.
const TABLE: &str = "inet fault";

/// Somebody on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// A node, from 1.
    Node(u8),
    /// All clients.
    Clients,
}

impl Party {
    /// Its address.
    pub fn address(self) -> String {
        match self {
            Self::Node(node) => format!("10.77.0.{node}"),
            Self::Clients => CLIENTS.to_owned(),
        }
    }
}

/// What is wrong with a node's network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cuts {
    /// Nothing comes from these.
    pub from: BTreeSet<Party>,
    /// Nothing gets to these.
    pub to: BTreeSet<Party>,
    /// So many of a hundred packets that come, from anybody, are lost.
    pub loss_percent: u32,
}

impl Cuts {
    /// Neither comes anything from these, nor gets anything to them.
    pub fn apart_from(parties: impl IntoIterator<Item = Party>) -> Self {
        let from: BTreeSet<Party> = parties.into_iter().collect();
        Self { to: from.clone(), from, loss_percent: 0 }
    }

    /// The rules, as `nft` reads them: they replace those before in one step.
    fn rules(&self) -> String {
        let mut text = format!("table {TABLE} {{}}\ndelete table {TABLE}\ntable {TABLE} {{\n");
        text.push_str("chain in { type filter hook input priority 0;\n");
        for party in &self.from {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "ip saddr {} drop", party.address());
        }
        if self.loss_percent > 0 {
            let _ = writeln!(text, "numgen random mod 100 < {} drop", self.loss_percent);
        }
        text.push_str("}\nchain out { type filter hook output priority 0;\n");
        for party in &self.to {
            let _ = writeln!(text, "ip daddr {} drop", party.address());
        }
        text.push_str("}\n}\n");
        text
    }
}

/// See the module.
pub struct Network(());

impl Network {
    /// Makes the namespaces and joins them.
    ///
    /// # Errors
    /// When the machine refuses.
    pub fn make() -> Result<Self, CrashError> {
        ip("link set lo up")?;
        ip("link add hub type bridge")?;
        ip(&format!("addr add {CLIENTS}/24 dev hub"))?;
        ip("link set hub up")?;
        for node in NODES {
            let (name, address) = (name(node), Party::Node(node).address());
            ip(&format!("netns add {name}"))?;
            ip(&format!("link add to-{name} type veth peer name eth0 netns {name}"))?;
            ip(&format!("link set to-{name} master hub up"))?;
            ip(&format!("-n {name} addr add {address}/24 dev eth0"))?;
            ip(&format!("-n {name} link set eth0 up"))?;
            ip(&format!("-n {name} link set lo up"))?;
        }
        Ok(Self(()))
    }

    /// The command that runs another in a node's namespace. It does not touch mounts, as `ip netns exec` would: a file
    /// system that a process sees elsewhere could not be unmounted.
    pub fn within(node: u8) -> Vec<OsString> {
        vec!["nsenter".into(), format!("--net=/run/netns/{}", name(node)).into()]
    }

    /// Makes this wrong with a node's network, and nothing else.
    ///
    /// # Errors
    /// When the rules are refused.
    pub fn cut(&self, node: u8, cuts: &Cuts) -> Result<(), CrashError> {
        let mut command = nft(node, "-");
        let line = format!("{command:?}");
        let output = run_with_input(&mut command, &cuts.rules())?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(CrashError::Command { command: line, status: output.status.to_string(), output: said })
    }

    /// Makes nothing wrong with any node's network.
    ///
    /// # Errors
    /// When the rules are refused.
    pub fn heal(&self) -> Result<(), CrashError> {
        NODES.into_iter().try_for_each(|node| self.cut(node, &Cuts::default()))
    }
}

fn name(node: u8) -> String {
    format!("node-{node}")
}

fn ip(arguments: &str) -> Result<(), CrashError> {
    run(Command::new("ip").args(arguments.split(' '))).map(drop)
}

fn nft(node: u8, file: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.args(Network::within(node).into_iter().skip(1)).args(["nft", "-f", file]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_one_way_cut_drops_one_direction_and_replaces_what_was_cut_before() {
        let cuts = Cuts { from: [Party::Node(2)].into(), ..Cuts::default() };
        let rules = cuts.rules();
        assert!(rules.contains("ip saddr 10.77.0.2 drop"), "{rules}");
        assert!(!rules.contains("daddr") && !rules.contains("numgen"), "{rules}");
        assert!(rules.contains("delete table"), "{rules}");
        assert!(Cuts::apart_from([Party::Clients]).rules().contains("ip daddr 10.77.0.254 drop"));
    }
}
