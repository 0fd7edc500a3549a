//! What of this machine a run needs beside what the crash tests need, and whether it is there.

use std::process::Command;

use highwater_crash::faults::needs::{faketime, strace};
use highwater_crash::node::run;

use crate::enclosure;

/// All that every run needs.
///
/// # Errors
/// The reason why this machine cannot.
pub fn of_every_run() -> Result<(), String> {
    let tools: [(&str, &[&str], &str); 4] = [
        ("nft", &["--version"], "nftables"),
        ("ip", &["-V"], "iproute2"),
        ("mkfs.ext4", &["-V"], "e2fsprogs"),
        ("python3", &["--version"], "python3"),
    ];
    for (tool, arguments, package) in tools {
        let there = run(Command::new(tool).args(arguments));
        there.map_err(|_| format!("no {tool} here (Debian's package is {package})"))?;
    }
    enclosure::possible()
}

/// What the faults need that not every run plays.
///
/// # Errors
/// The reason why this machine cannot.
pub fn of_all_faults() -> Result<(), String> {
    of_every_run()?;
    strace()?;
    faketime().map(drop)
}
