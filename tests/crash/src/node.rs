//! One node as a user runs it: `highwater dev`, or another command of the binary, in a process of its own.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use highwater_client::Client;

use crate::CrashError;

/// A node answers within this time of its start, recovery included.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The binary under test: `HIGHWATER_BINARY`, else built here with the profile of this program. Who runs all
/// tests sets the first, for building this one package alone means other features and so most of the tree again.
///
/// # Errors
/// When cargo cannot build it.
pub fn binary() -> Result<&'static Path, CrashError> {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = BINARY.get() {
        return Ok(path);
    }
    if let Some(path) = std::env::var_os("HIGHWATER_BINARY") {
        return Ok(BINARY.get_or_init(|| path.into()));
    }
    let this = std::env::current_exe().map_err(CrashError::io("finding this program"))?;
    let profile = this.ancestors().find(|path| path.ends_with("debug") || path.ends_with("release"));
    let Some(profile) = profile else {
        return Err(CrashError::Broken(format!("{} is not below a target directory", this.display())));
    };
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--package", "highwater", "--bin", "highwater"]);
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        build.arg("--release");
    }
    if let Some(target) = profile.parent() {
        build.arg("--target-dir").arg(target);
    }
    run(&mut build)?;
    Ok(BINARY.get_or_init(|| profile.join("highwater")))
}

/// Runs a command to its end and returns what it printed on stdout.
///
/// # Errors
/// When it cannot be run or fails.
pub fn run(command: &mut Command) -> Result<String, CrashError> {
    let line = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().map_err(CrashError::io(line.clone()))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let output_text = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
    Err(CrashError::Command { command: line, status: output.status.to_string(), output: output_text })
}

/// Runs a command to its end with `input` on its stdin and returns how it ended, well or not.
///
/// # Errors
/// When it cannot be run.
pub fn run_with_input(command: &mut Command, input: &str) -> Result<Output, CrashError> {
    let line = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().map_err(CrashError::io(line.clone()))?;
    if let Some(mut stdin) = process.stdin.take() {
        // A command that fails early does not read it.
        let _ = stdin.write_all(input.as_bytes());
    }
    process.wait_with_output().map_err(CrashError::io(line))
}

/// How a node's process is started, beside its environment.
pub struct Launch {
    /// A command that becomes the node's process, such as `nsenter` with its flags; empty for none.
    pub within: Vec<OsString>,
    /// What the binary is called with.
    pub arguments: Vec<OsString>,
    /// Where clients reach it then, as `host:port`.
    pub address: String,
}

/// A node's data directory and how it is started, whether it runs or not.
pub struct Node {
    data: PathBuf,
    log: PathBuf,
    launch: Launch,
    environment: Vec<(OsString, OsString)>,
    process: Option<Child>,
}

impl Node {
    /// A node of its own on this machine that is not started yet, with its data in `data` and its log beside it.
    ///
    /// # Errors
    /// When no port is free.
    pub fn new(data: PathBuf) -> Result<Self, CrashError> {
        let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
        let port = free.map_err(CrashError::io("finding a free port"))?.port();
        let flags = ["dev", "--grpc-port", &port.to_string(), "--http-port", "0", "--data"].map(OsString::from);
        let arguments = flags.into_iter().chain([data.clone().into()]).collect();
        let launch = Launch { within: Vec::new(), arguments, address: format!("127.0.0.1:{port}") };
        Ok(Self::launched(data, launch))
    }

    /// A node that is not started yet, and will be as this says.
    pub fn launched(data: PathBuf, launch: Launch) -> Self {
        Self { log: data.with_extension("log"), data, launch, environment: Vec::new(), process: None }
    }

    /// Where the node's log goes.
    pub fn set_log(&mut self, log: PathBuf) {
        self.log = log;
    }

    /// Sets a variable of the process's environment, for the next start.
    pub fn set_environment(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.environment.push((name.into(), value.into()));
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Where clients connect.
    pub fn address(&self) -> String {
        self.launch.address.clone()
    }

    /// Starts the node and waits until it answers.
    ///
    /// # Errors
    /// When it ends or does not answer in time.
    pub async fn start(&mut self) -> Result<Client, CrashError> {
        self.spawn()?;
        let client = Client::connect([self.address()])?;
        let admin = client.admin();
        let deadline = tokio::time::Instant::now() + READY_WITHIN;
        loop {
            let ended = match &mut self.process {
                Some(process) => process.try_wait().map_err(CrashError::io("watching the node"))?,
                None => None,
            };
            if ended.is_some() || tokio::time::Instant::now() > deadline {
                return Err(CrashError::NotReady { seconds: READY_WITHIN.as_secs(), log: self.log_tail() });
            }
            let asked = tokio::time::timeout(Duration::from_millis(500), admin.describe_cluster()).await;
            if matches!(asked, Ok(Ok(_))) {
                return Ok(client);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts the node without waiting for it.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn spawn(&mut self) -> Result<(), CrashError> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(CrashError::io("opening the log"))?;
        let errors = log.try_clone().map_err(CrashError::io("opening the log"))?;
        let mut line = self.launch.within.iter().map(OsString::as_os_str).chain([binary()?.as_os_str()]);
        let program = line.next().unwrap_or_default();
        let mut command = Command::new(program);
        // What is set for this program is not meant for the node.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"HIGHWATER_"))
        {
            command.env_remove(name);
        }
        let child = command
            .args(line)
            .args(&self.launch.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(CrashError::io("starting the node"))?;
        self.process = Some(child);
        Ok(())
    }

    /// Kills the process at once, as `kill -9` does.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> Result<(), CrashError> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.kill().map_err(CrashError::io("killing the node"))?;
        process.wait().map_err(CrashError::io("waiting for the killed node")).map(drop)
    }

    /// Asks the process to stop, as Ctrl-C does, and waits for its end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn stop(&mut self) -> Result<ExitStatus, CrashError> {
        self.signal("INT")?;
        self.wait_end().await
    }

    /// The id of the running process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn process_id(&self) -> Result<u32, CrashError> {
        let process = self.process.as_ref();
        process.map(Child::id).ok_or_else(|| CrashError::Broken("the node is not running".to_owned()))
    }

    /// Sends the process a signal by its name, such as `TERM`.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, name: &str) -> Result<(), CrashError> {
        let process = self.process_id()?.to_string();
        run(Command::new("kill").args([&format!("-{name}"), &process])).map(drop)
    }

    /// How the process ended, if it ran and has ended by itself since.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, CrashError> {
        let Some(process) = &mut self.process else { return Ok(None) };
        let status = process.try_wait().map_err(CrashError::io("watching the node"))?;
        if status.is_some() {
            self.process = None;
        }
        Ok(status)
    }

    /// Waits until the process ends by itself.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn wait_end(&mut self) -> Result<ExitStatus, CrashError> {
        let deadline = tokio::time::Instant::now() + READY_WITHIN;
        loop {
            self.process_id()?;
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if tokio::time::Instant::now() > deadline {
                return Err(CrashError::Broken(format!("the node did not end:\n{}", self.log_tail())));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Looks at the data directory of a node that does not run.
    ///
    /// # Errors
    /// When anything is wrong with it.
    pub fn inspect(&self) -> Result<String, CrashError> {
        run(Command::new(binary()?).arg("inspect").arg(&self.data))
    }

    /// Runs a command of the binary against this node, with `input` on its stdin, and returns how it ended.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn command(&self, arguments: &[&str], input: &str) -> Result<Output, CrashError> {
        let mut command = Command::new(binary()?);
        command.args(arguments).args(["--server", &self.address()]);
        run_with_input(&mut command, input)
    }

    /// The last lines that the node printed.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A failed run must not leave a process behind.
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
