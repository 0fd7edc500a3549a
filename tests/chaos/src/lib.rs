//! Plays faults on a real cluster under load, and checks every record.
//!
//! Three `highwater serve` processes run in network namespaces of their own, each on a file system of its own whose power
//! can be cut. [`schedule`] decides from a seed what happens to them, [`faults`] does it, [`workload`] produces,
//! [`readers`] and [`watcher`] read all the while, and [`history`] holds everything that any of them saw against the
//! promises. The nodes, disks and single faults are those of the crash tests.
//!
//! Nothing outlives a run: all of it happens in an [`enclosure`].

pub mod account;
pub mod cluster;
pub mod enclosure;
pub mod faults;
pub mod gaps;
pub mod history;
pub mod needs;
pub mod network;
pub mod readers;
pub mod replicas;
pub mod run;
pub mod schedule;
pub mod topics;
pub mod watcher;
pub mod workload;
