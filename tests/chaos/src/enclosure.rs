//! Where a run happens: namespaces for network, mounts and processes that end with it.
//!
//! The program starts itself again in there. The inner process is the first of its process namespace, so when it ends, however
//! it does, the kernel kills every node, takes the mounts away, and with them the network namespaces, whose names are
//! private mounts too. It ends when its standard input does, which is when the outer process ends. So names need not
//! differ from run to run, and nothing is there to clean up.

use std::io;
use std::process::{Command, ExitStatus, Stdio};

use highwater_crash::CrashError;
use highwater_crash::node::{binary, run};

/// Set in the inner process.
const INSIDE: &str = "HIGHWATER_CHAOS_INSIDE";
/// New namespaces; the inner process dies with `unshare`, and no mount reaches the machine's.
const UNSHARE: [&str; 7] =
    ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation=private"];
/// Where `ip` keeps the names of network namespaces.
const NAMES: &str = "/run/netns";

/// Whether this is the inner process.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Whether the machine lets this user have such namespaces.
///
/// # Errors
/// The reason why not.
pub fn possible() -> Result<(), String> {
    run(Command::new("unshare").args(UNSHARE).args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]))
        .map(drop)
        .map_err(|error| {
            format!("no namespaces for network, mounts and processes here (they take root): {error}")
        })
}

/// Runs this program with the same arguments inside, to its end.
///
/// # Errors
/// When it cannot be started.
pub fn enter() -> Result<ExitStatus, CrashError> {
    let program = std::env::current_exe().map_err(CrashError::io("finding this program"))?;
    // Built out here: in there is no network.
    let node = binary()?;
    let mut inside = Command::new("unshare")
        .args(UNSHARE)
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .env("HIGHWATER_BINARY", node)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(CrashError::io("starting unshare"))?;
    // Open until the inner process has ended, or this one has.
    let _input = inside.stdin.take();
    inside.wait().map_err(CrashError::io("waiting for the run"))
}

/// Makes the inner process end with the outer one, and the names of network namespaces its own.
///
/// # Errors
/// When the machine refuses.
pub fn settle() -> Result<(), CrashError> {
    std::thread::Builder::new()
        .name("input".to_owned())
        .spawn(|| {
            // Nothing is expected there, and an error ends it too.
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            std::process::exit(1);
        })
        .map_err(CrashError::io("starting a thread"))?;
    std::fs::create_dir_all(NAMES).map_err(CrashError::io(format!("making {NAMES}")))?;
    run(Command::new("mount").args(["-t", "tmpfs", "tmpfs", NAMES])).map(drop)
}
