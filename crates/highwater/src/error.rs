//! Why a command failed, what the user can do about it, and the exit code.

use std::io;

use highwater_client::ClientError;
use highwater_types::ErrorCode;

use crate::settings::Problem;

/// What the process ends with when its node's disk failed.
const DISK_FAILED: u8 = 74;
const _: () = assert!(DISK_FAILED as i32 == highwater_types::exit_code::DISK_FAILED);

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
    Damaged { directory: std::path::PathBuf, problems: usize },
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
    NodeFailed(highwater_server::NodeFailure),
    /// The node did not end as it should.
    #[error("{0}; nothing that was acknowledged is lost, the next start takes a little longer")]
    NodeShutdown(highwater_server::ShutdownError),
    /// A command whose results are no table was asked for JSON.
    #[error("`highwater {command}` has no --output json")]
    NoJson { command: &'static str, instead: Option<&'static str> },
    /// The runtime cannot start.
    #[error("cannot start: {0}")]
    Start(io::Error),
}

impl CliError {
    /// 2 for what is wrong with the command line or the settings, 74 when the disk failed, 1 for everything else.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Client(ClientError::InvalidAddress { .. } | ClientError::NoServers)
            | Self::NoJson { .. }
            | Self::Settings { .. }
            | Self::BadUrl { .. } => 2,
            Self::NodeFailed(highwater_server::NodeFailure::Disk { .. }) => DISK_FAILED,
            Self::NodeShutdown(error) if error.is_disk_failure() => DISK_FAILED,
            _ => 1,
        }
    }

    /// What to try, if there is something.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NoJson { instead, .. } => instead.map(str::to_owned),
            Self::Client(error) | Self::Undelivered { cause: error, .. } => hint(error),
            Self::NodeStart(highwater_server::StartError::PortInUse { .. }) => {
                Some(
                    "`dev --grpc-port 0 --http-port 0` takes free ports; the settings listen.* of `serve` too take port 0"
                        .to_owned(),
                )
            }
            Self::NodeShutdown(error) if error.is_disk_failure() => {
                Some("check the disk, then start the node again".to_owned())
            }
            _ => None,
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

fn hint(error: &ClientError) -> Option<String> {
    match error {
        ClientError::Connection { .. } => Some(
            "is the node running, and is this its gRPC address? start one with `highwater dev`, or name another \
             with --server"
                .to_owned(),
        ),
        ClientError::Refused { .. } => {
            Some("is that a highwater node? --server names its gRPC address".to_owned())
        }
        ClientError::DeliveryTimeout { last_error: Some(cause), .. } => hint(cause),
        ClientError::Api(detail) => match error.code()? {
            ErrorCode::UnknownTopicOrPartition if detail.partition.is_none() => Some(format!(
                "see `highwater topic list`, or create it with `highwater topic create {}`",
                if detail.topic.is_empty() { "NAME" } else { &detail.topic }
            )),
            ErrorCode::OffsetOutOfRange => Some(
                "`highwater topic describe` shows which offsets each partition has; `--partition` chooses one, \
                 `--from earliest` begins at the first"
                    .to_owned(),
            ),
            ErrorCode::NoSpace => {
                Some("free disk space on the node; producing then works again by itself".to_owned())
            }
            _ => None,
        },
        _ => None,
    }
}
