//! Why a command failed, what the user can do about it, and the exit code.

mod hint;

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use highwater_client::ClientError;
use highwater_server::NodeFailure;

use crate::output::span;
use crate::settings::Problem;
use crate::views::StuckView;

/// What the process ends with when its node's disk failed.
const DISK_FAILED: u8 = 74;
/// The cluster goes on without this node.
const SHUT_OUT: u8 = 77;
const _: () = assert!(SHUT_OUT as i32 == highwater_types::exit_code::SHUT_OUT);
const _: () = assert!(DISK_FAILED as i32 == highwater_types::exit_code::DISK_FAILED);

/// How the shell reports a process that Ctrl-C ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The cluster, or the way to it.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// Records were not delivered.
    #[error("{failed} of {total} records were not delivered: {cause}")]
    Undelivered { failed: u64, total: u64, cause: ClientError },
    /// An input file cannot be read.
    #[error("cannot read {name}: {cause}")]
    Input { name: String, cause: io::Error },
    /// A line of the input is not what it should be.
    #[error("{name}, line {line}: {reason}")]
    BadLine { name: String, line: u64, reason: String },
    /// A data directory cannot be looked at.
    #[error(transparent)]
    Inspect(#[from] highwater_storage::inspect::InspectError),
    /// Something is wrong with a data directory; what, was printed.
    #[error("{problems} problem{} found in {}", if *problems == 1 { " was" } else { "s were" }, directory.display())]
    Damaged { directory: PathBuf, problems: usize },
    /// The reader of our output went away.
    #[error("the output was closed")]
    OutputClosed,
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    /// The settings of a node are not what they should be.
    #[error("{}", listed(.problems))]
    Settings { problems: Vec<Problem> },
    /// Not a URL that can be asked.
    #[error("{url} is no URL such as http://127.0.0.1:7402/readyz")]
    BadUrl { url: String },
    /// Nobody answers.
    #[error("{url} does not answer: {cause}")]
    NoAnswer { url: String, cause: io::Error },
    /// The node says that it does not serve.
    #[error("{url} answers: {answer}")]
    Unwell { url: String, answer: String },
    /// The node does not start.
    #[error("{0}")]
    NodeStart(highwater_server::StartError),
    /// The node had to end.
    #[error("{0}")]
    NodeFailed(NodeFailure),
    /// The node did not end as it should.
    #[error("{0}; nothing that was acknowledged is lost, the next start takes a little longer")]
    NodeShutdown(highwater_server::ShutdownError),
    /// The folder of a cluster on this machine cannot be used.
    #[error("cannot {doing} {}: {cause}", path.display())]
    ClusterFolder { doing: &'static str, path: PathBuf, cause: io::Error },
    /// The folder holds a cluster, and not the one that was asked for.
    #[error("{} holds a cluster of {nodes} nodes from port {port}", data.display())]
    OtherCluster { data: PathBuf, nodes: u8, port: u16 },
    /// The folder holds a node, not a cluster.
    #[error("{} holds the data of a single node", data.display())]
    SingleNode { data: PathBuf },
    /// The folder holds no cluster.
    #[error("there is no cluster in {}", data.display())]
    NoCluster { data: PathBuf },
    /// Another process runs the cluster.
    #[error("the cluster in {} runs already", data.display())]
    ClusterInUse { data: PathBuf },
    /// No process runs the cluster.
    #[error("nothing runs the cluster in {}", data.display())]
    ClusterNotRun { data: PathBuf, nodes: u8 },
    /// The cluster has no node of this number.
    #[error("there is no node {node}: the nodes are 1 to {nodes}")]
    NoSuchNode { node: u8, nodes: u8 },
    /// The ports of all nodes do not fit above the first.
    #[error("the ports of {nodes} nodes do not fit above port {port}")]
    PortTooHigh { port: u16, nodes: u8 },
    /// No free ports were found.
    #[error("found no free ports on 127.0.0.1")]
    NoFreePorts,
    /// A node does not run.
    #[error("node {node} of {} is not running", data.display())]
    NodeNotRunning { node: u8, data: PathBuf },
    /// A node runs already.
    #[error("node {node} runs already, as process {pid}")]
    NodeRuns { node: u8, pid: u32 },
    /// A node's process cannot be signalled.
    #[error("cannot reach process {pid} of node {node}: {cause}")]
    Signal { node: u8, pid: u32, cause: io::Error },
    /// The process that runs the cluster does not start a node.
    #[error("node {node} was not started: {refusal}")]
    NodeNotStarted { node: u8, refusal: String },
    /// A node does not come to serve.
    #[error("node {node} does not serve after {seconds} s; its log is {}", log.display())]
    NodeNotReady { node: u8, seconds: u64, log: PathBuf },
    /// A node's process ended.
    #[error("node {node} ended ({status}); its log is {}{}", log.display(), quoted(.last))]
    NodeEnded { node: u8, status: ExitStatus, log: PathBuf, last: String },
    /// A node's process ended before the node served.
    #[error("node {node} ended instead of serving; its log is {}{}", log.display(), quoted(.last))]
    NodeGone { node: u8, log: PathBuf, last: String },
    /// The tour was told to stop before its end.
    #[error("stopped before the end")]
    TourStopped,
    /// The tour came to no end.
    #[error("the tour got stuck: {doing} took longer than {seconds} s")]
    TourStuck { doing: &'static str, seconds: u64 },
    /// The tour found what must never be.
    #[error("the cluster broke its promise; the account is above")]
    PromiseBroken,
    /// The cluster is not as it should be; what is wrong, was printed.
    #[error("the cluster is not healthy: {problems} problem{}, listed above", if *problems == 1 { "" } else { "s" })]
    Unhealthy { problems: usize },
    /// What was waited for did not come about.
    #[error("{unfinished} after {}: {state}", span(*.waited))]
    NotInTime { unfinished: String, waited: Duration, state: String, hint: String },
    /// The user did not want to wait any longer.
    #[error("stopped waiting: {unfinished} yet")]
    Interrupted { unfinished: String, hint: String },
    /// A node cannot be emptied.
    #[error("node {node} cannot be drained further:{}", stuck_lines(.stuck))]
    DrainStuck { node: u64, stuck: Vec<StuckView> },
    /// A plan was carried out, and somebody has moved a partition on since.
    #[error("{partition} is not where the plan says: it was moved elsewhere, or its move was cancelled")]
    MovedElsewhere { partition: String },
    /// A plan's file cannot be read or written.
    #[error("cannot {doing} {name}: {cause}")]
    PlanFile { doing: &'static str, name: String, cause: io::Error },
    /// A file is no plan.
    #[error("{name} is no plan: {cause}")]
    NoPlan { name: String, cause: serde_json::Error },
    /// What cannot be taken back needs a yes, and nobody is there to give it.
    #[error("{what} This has to be confirmed, and standard input is no terminal; nothing was changed")]
    NobodyToAsk { what: String },
    /// The user said no.
    #[error("nothing was changed")]
    Declined,
    /// A list of groups is not all.
    #[error("there may be more groups:{}", lines(.errors))]
    GroupsMissing { errors: Vec<ClientError> },
    /// A group's offsets cannot be set while members read on.
    #[error("group {group} has {members} member{}, which would go on where they are; nothing was changed", if *members == 1 { "" } else { "s" })]
    GroupInUse { group: String, members: usize },
    /// A group has no offsets to change.
    #[error("group {group} has committed nothing")]
    NothingCommitted { group: String },
    /// Some of a group's offsets are as they were.
    #[error("{failed} of {total} were not {done}: {cause}")]
    OffsetsLeft { failed: usize, total: String, done: &'static str, cause: ClientError },
    /// A consumer of a group ended without a commit.
    #[error("group {group} may print again what was printed since the last commit: {cause}")]
    NotCommitted { group: String, cause: String },
    /// An answer lacks what it has to have.
    #[error("the cluster's answer lacks {what}; is it of a much newer version?")]
    IncompleteAnswer { what: &'static str },
    /// A command whose results are no table was asked for JSON.
    #[error("`highwater {command}` has no --output json")]
    NoJson { command: &'static str, instead: Option<&'static str> },
    /// A data directory cannot be opened.
    #[error(transparent)]
    Directory(#[from] highwater_storage::directory::DirectoryError),
    /// The store in a data directory cannot be opened.
    #[error("the data cannot be opened: {0}")]
    Store(highwater_storage::OpenError),
    /// A node cannot be recovered.
    #[error("the node cannot be recovered: {reason}")]
    NotRecoverable { reason: String },
    /// A cluster cannot be founded from these nodes; nothing was changed.
    #[error("no cluster was founded, and nothing was changed:{}", lines(.problems))]
    CannotFound { problems: Vec<String> },
    /// A node was not made part of the cluster that is being founded.
    #[error("{node} was not made part of the cluster: {cause}")]
    NotBorn { node: String, cause: ClientError },
    /// A node of a cluster that was founded does not come to serve.
    #[error("the cluster is founded, and {node} is not part of it after {seconds} s")]
    NotTakenIn { node: String, seconds: u64 },
    /// The runtime cannot start.
    #[error("cannot start: {0}")]
    Start(io::Error),
}

impl CliError {
    /// Whether it may be over in a moment, by itself.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Client(error) if error.is_retriable())
    }

    /// 2 for what is wrong with the command line or the settings, 74 when the disk failed, 77 when the cluster goes on without the
    /// node, 1 for everything else.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Client(ClientError::InvalidAddress { .. } | ClientError::NoServers)
            | Self::NoJson { .. }
            | Self::Settings { .. }
            | Self::BadUrl { .. }
            | Self::NoSuchNode { .. }
            | Self::NobodyToAsk { .. }
            | Self::PortTooHigh { .. } => 2,
            Self::Interrupted { .. } => INTERRUPTED,
            Self::NodeFailed(NodeFailure::Disk { .. } | NodeFailure::Spared) => DISK_FAILED,
            Self::NodeFailed(NodeFailure::ShutOut { .. }) => SHUT_OUT,
            Self::NodeShutdown(error) if error.is_disk_failure() => DISK_FAILED,
            _ => 1,
        }
    }
}

impl From<io::Error> for CliError {
    /// Of writing to stdout, the only IO whose errors are passed on without a word.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::OutputClosed } else { Self::Output(error) }
    }
}

/// Problems as a list, or as a sentence when there is one.
fn listed(problems: &[Problem]) -> String {
    if let [problem] = problems {
        return problem.to_string();
    }
    let lines = problems.iter().map(|problem| format!("\n  {problem}"));
    format!("the settings have {} problems:{}", problems.len(), lines.collect::<String>())
}

/// Each on a line of its own.
fn stuck_lines(stuck: &[StuckView]) -> String {
    stuck.iter().map(|stuck| format!("\n  {}: {}", stuck.name(), stuck.reason)).collect()
}

/// One line for each.
fn lines(problems: &[impl std::fmt::Display]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

/// The last line of a log, if there is something in it.
fn quoted(last: &str) -> String {
    if last.is_empty() { String::new() } else { format!(", and ends with:\n  {last}") }
}
