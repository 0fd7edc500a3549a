//! Signals to a node by what its data directory says: the process that holds its lock, and no other. A pid alone is
//! never enough, for pids are used again; the process is held by a descriptor while it is looked at.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use highwater_storage::directory::locked_by;
use highwater_storage::layout;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::layout::Layout;
use crate::error::CliError;

/// What is done to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    /// It ends at once, without a chance to do anything.
    Kill,
    /// It stands still, and its connections stay open.
    Pause,
    /// It goes on after a pause.
    Resume,
}

/// Does it to the process that runs this node, and says which that was.
pub(crate) fn strike(cluster: &Layout, node: u8, blow: Blow) -> Result<u32, CliError> {
    let folder = cluster.folder(node);
    let not_running = || CliError::NodeNotRunning { node, data: cluster.data().to_path_buf() };
    let number = locked_by(&folder).filter(|pid| *pid > 0).ok_or_else(not_running)?;
    let pid = i32::try_from(number).ok().and_then(Pid::from_raw).ok_or_else(not_running)?;
    let failed = |cause: rustix::io::Errno| CliError::Signal { node, pid: number, cause: cause.into() };
    let process = pidfd_open(pid, PidfdFlags::empty()).map_err(failed)?;
    // Looked at after it was taken hold of: from here on the pid cannot become another's unseen.
    if !has_open(number, &folder.join(layout::LOCK)) {
        return Err(not_running());
    }
    let signal = match blow {
        Blow::Kill => Signal::KILL,
        Blow::Pause => Signal::STOP,
        Blow::Resume => Signal::CONT,
    };
    pidfd_send_signal(process, signal).map_err(failed)?;
    Ok(number)
}

/// Whether this process has this file open.
fn has_open(pid: u32, file: &Path) -> bool {
    let (Ok(wanted), Ok(open)) = (fs::metadata(file), fs::read_dir(format!("/proc/{pid}/fd"))) else {
        return false;
    };
    let is_it = |file: fs::Metadata| (file.dev(), file.ino()) == (wanted.dev(), wanted.ino());
    open.flatten().any(|entry| fs::metadata(entry.path()).is_ok_and(is_it))
}

/// Whether every thread of this process is stopped, or it is gone.
pub(super) fn stands_still(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads.flatten().all(|thread| {
        let text = fs::read_to_string(thread.path().join("stat"));
        // The state follows the name, which is in parentheses and may have some.
        text.is_ok_and(|text| text.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T')))
    })
}
