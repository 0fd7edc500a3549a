//! What of this machine a scenario needs, and whether it is there.

use std::path::Path;
use std::process::Command;

use crate::node::run;
use crate::power::LoopDisk;

/// A file system of its own, or the reason why there can be none.
pub fn loop_disk(directory: &Path, mib: u64) -> Result<LoopDisk, String> {
    LoopDisk::with_size(directory, mib).map_err(|error| format!("no loop mounts here: {error}"))
}

/// strace that may attach to this user's processes.
pub fn strace() -> Result<(), String> {
    run(Command::new("strace").args(["-f", "-o", "/dev/null", "-e", "inject=sync:error=EIO", "true"]))
        .map(drop)
        .map_err(|error| format!("no strace that can inject errors here (Debian's package is strace): {error}"))
}

/// Another user than root to run a process as.
pub fn other_user() -> Result<(), String> {
    run(Command::new("setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups", "true"]))
        .map(drop)
        .map_err(|error| format!("cannot run a process as another user here: {error}"))
}

/// The library that shows a process another time.
pub fn faketime() -> Result<String, String> {
    let library = |architecture: &str| format!("/usr/lib/{architecture}/faketime/libfaketimeMT.so.1");
    let mut libraries = ["x86_64-linux-gnu", "aarch64-linux-gnu"].map(library).into_iter();
    libraries
        .find(|library| Path::new(library).exists())
        .ok_or_else(|| "no libfaketime here (Debian's package is faketime)".to_owned())
}
