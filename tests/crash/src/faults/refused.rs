//! Starts that must be refused, with an exit code and a message that tells a user what to do.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{check, check_exit, check_says, printed};
use crate::CrashError;
use crate::node::{Node, binary, run, run_with_input};

/// Starts a node that must not come up, and holds its end against these words.
fn refused(command: &mut Command, data: &Path, grpc_port: u16, wanted: &[&str]) -> Result<(), CrashError> {
    command.args(["dev", "--http-port", "0", "--grpc-port", &grpc_port.to_string(), "--data"]).arg(data);
    let output = run_with_input(command, "")?;
    let text = printed(&output);
    check_exit(output.status, 1, &text)?;
    check_says(&text, wanted)?;
    check(output.stdout.is_empty(), || format!("an error belongs on stderr:\n{text}"))?;
    check(!text.contains("panicked"), || text.clone())
}

fn refused_here(data: &Path, wanted: &[&str]) -> Result<(), CrashError> {
    refused(&mut Command::new(binary()?), data, 0, wanted)
}

/// A second process on a directory is refused with the first one's id; the first is not disturbed.
///
/// # Errors
/// When a promise is broken.
pub async fn second_process(directory: &Path) -> Result<(), CrashError> {
    let mut node = Node::new(directory.join("node"))?;
    let client = node.start().await?;
    let process = format!("process {}", node.process_id()?);
    refused_here(node.data(), &["in use by", &process, "choose another directory"])?;
    client.admin().describe_cluster().await?;
    check_exit(node.stop().await?, 0, &node.log_tail())?;
    // The lock is the process's, not the file's.
    node.start().await?;
    node.kill()?;
    node.start().await?;
    check_exit(node.stop().await?, 0, &node.log_tail())
}

/// Directories that are a file, somebody else's, of a later version, damaged, or half lost are refused and stay as they were.
///
/// # Errors
/// When a promise is broken.
pub async fn unusable_directory(directory: &Path) -> Result<(), CrashError> {
    let file = directory.join("a-file");
    write(&file, "text")?;
    refused_here(&file, &["is not a directory", "choose a directory"])?;
    refused_here(&file.join("below"), &["a-file"])?;

    let foreign = directory.join("photos");
    fs::create_dir(&foreign).map_err(CrashError::io("creating a directory"))?;
    write(&foreign.join("cat.jpg"), "cat")?;
    refused_here(&foreign, &["not a Highwater data directory", "cat.jpg", "choose an empty directory"])?;
    let names: Vec<_> = fs::read_dir(&foreign).map_err(CrashError::io("listing"))?.collect();
    check(names.len() == 1, || format!("a foreign directory was changed: {names:?}"))?;

    let mut node = Node::new(directory.join("node"))?;
    node.start().await?;
    check_exit(node.stop().await?, 0, &node.log_tail())?;
    let identity = node.data().join("identity");
    let whole = fs::read(&identity).map_err(CrashError::io("reading the identity"))?;
    let text = String::from_utf8_lossy(&whole).into_owned();
    write(&identity, &newer(&text))?;
    refused_here(node.data(), &["format version 2", "reads up to 1", "newer one"])?;
    write(&identity, &text.replace("node 1", "node 2"))?;
    refused_here(node.data(), &["identity", "is damaged", "restore it from a backup"])?;
    fs::remove_file(&identity).map_err(CrashError::io("removing the identity"))?;
    refused_here(node.data(), &["identity file is missing", "restore"])?;
    write(&identity, &text)?;
    let topics = node.data().join("topics");
    let away = directory.join("away");
    fs::rename(&topics, &away).map_err(CrashError::io("renaming"))?;
    refused_here(node.data(), &["topics", "restore it"])?;
    fs::rename(&away, &topics).map_err(CrashError::io("renaming"))?;
    node.start().await?;
    check_exit(node.stop().await?, 0, &node.log_tail())
}

/// A port that another process has is named.
///
/// # Errors
/// When a promise is broken.
pub fn port_in_use(directory: &Path) -> Result<(), CrashError> {
    let taken = TcpListener::bind(("127.0.0.1", 0)).map_err(CrashError::io("taking a port"))?;
    let port = taken.local_addr().map_err(CrashError::io("taking a port"))?.port();
    let data = directory.join("node");
    let address = format!("127.0.0.1:{port}");
    refused(&mut Command::new(binary()?), &data, port, &["gRPC", &address, "another process", "another port"])?;
    check(!data.exists(), || "a node that does not start made a directory".to_owned())
}

/// A directory that may not be written, because of its owner: refused with what to do.
///
/// # Errors
/// When a promise is broken.
pub async fn not_permitted(directory: &Path) -> Result<(), CrashError> {
    let mut node = Node::new(directory.join("node"))?;
    node.start().await?;
    check_exit(node.stop().await?, 0, &node.log_tail())?;
    // The other user must reach the program and the directory.
    fs::set_permissions(directory, Permissions::from_mode(0o755))
        .map_err(CrashError::io("opening a directory"))?;
    let program = directory.join("highwater");
    fs::copy(binary()?, &program).map_err(CrashError::io("copying the program"))?;
    let as_other = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        command
    };
    let wanted = ["ermission", "give this user read and write permission", "choose another directory"];
    refused(&mut as_other(), node.data(), 0, &wanted)?;
    refused(&mut as_other(), &directory.join("new"), 0, &wanted)?;
    node.start().await?;
    check_exit(node.stop().await?, 0, &node.log_tail())
}

/// A read-only mount, undone when dropped.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn mount(path: &Path) -> Result<Self, CrashError> {
        run(Command::new("mount").arg("--bind").arg(path).arg(path))?;
        let mounted = Self(path.to_owned());
        run(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(path))?;
        Ok(mounted)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        // Nothing can be done about a failure here.
        let _ = run(Command::new("umount").arg(&self.0));
    }
}

/// A file system that is mounted read-only is refused with what to do. Returns the reason when this machine cannot mount.
///
/// # Errors
/// When a promise is broken.
pub async fn read_only_mount(directory: &Path) -> Result<Option<String>, CrashError> {
    let mut node = Node::new(directory.join("node"))?;
    node.start().await?;
    check_exit(node.stop().await?, 0, &node.log_tail())?;
    match ReadOnly::mount(node.data()) {
        Err(error) => return Ok(Some(error.to_string())),
        Ok(_mounted) => {
            refused_here(node.data(), &["ead-only", "mount its file system read-write"])?;
            node.inspect()?;
        }
    }
    node.start().await?;
    check_exit(node.stop().await?, 0, &node.log_tail())?;
    Ok(None)
}

fn write(path: &Path, text: &str) -> Result<(), CrashError> {
    fs::write(path, text).map_err(CrashError::io(format!("writing {}", path.display())))
}

/// The identity as a later version would write it, sealed.
fn newer(text: &str) -> String {
    let body = text.replace("format 1", "format 2");
    let body = &body[..body.find("crc32c ").unwrap_or(body.len())];
    format!("{body}crc32c {:08x}\n", crc32c::crc32c(body.as_bytes()))
}
