//! What to try after a failure, if there is something.

use highwater_client::ClientError;
use highwater_types::ErrorCode;

use super::CliError;

/// What needs a group without members.
const END_MEMBERS: &str = "end its consumers first, and `highwater group describe` shows none; one that was killed stays a member until \
                           its session is over";

impl CliError {
    /// What to try, if there is something.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NotInTime { hint, .. } | Self::Interrupted { hint, .. } => Some(hint.clone()),
            Self::DrainStuck { node, .. } => Some(format!(
                "it goes on when there is a place for them, such as a further node; `highwater node activate {node}` keeps \
                 the node"
            )),
            Self::MovedElsewhere { .. } => Some("`highwater topic describe` shows where its partitions are".to_owned()),
            Self::NoPlan { .. } => Some("`highwater reassign plan --balance --file plan.json` writes one".to_owned()),
            Self::NobodyToAsk { .. } => Some("--yes answers in advance".to_owned()),
            Self::NoJson { instead, .. } => instead.map(str::to_owned),
            Self::GroupInUse { .. } => Some(END_MEMBERS.to_owned()),
            Self::NothingCommitted { .. } => {
                Some("`highwater group list` shows the groups; --topic sets offsets where there are none".to_owned())
            }
            Self::GroupsMissing { .. } => {
                Some("`highwater cluster status` shows which nodes are away".to_owned())
            }
            Self::OtherCluster { nodes, .. } => {
                Some(format!("go on with it with `--nodes {nodes}` and without --port, or name another folder with --data"))
            }
            Self::SingleNode { .. } => Some("name another folder with --data".to_owned()),
            Self::NoCluster { .. } => {
                Some("--data names the folder of a cluster that `highwater dev --nodes 3` began".to_owned())
            }
            Self::ClusterNotRun { data, nodes } => {
                Some(format!("start all of it with `highwater dev --nodes {nodes} --data {}`", data.display()))
            }
            Self::NotBorn { .. } => {
                Some("type the command again: it goes on where it was, or says what is in the way".to_owned())
            }
            Self::NotTakenIn { .. } => {
                Some("its log says what it waits for; it goes on by itself, and the command can be typed again".to_owned())
            }
            Self::Client(error) | Self::Undelivered { cause: error, .. } | Self::OffsetsLeft { cause: error, .. } => hint(error),
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
            ErrorCode::UnknownGroup => {
                Some("`highwater group list` shows the groups; one begins with its first member or offset".to_owned())
            }
            ErrorCode::GroupNotEmpty => Some(END_MEMBERS.to_owned()),
            ErrorCode::LeaderNotAvailable | ErrorCode::NotLeader => Some(
                "it passes when another node takes over; `highwater cluster status` shows whether too many are away"
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
