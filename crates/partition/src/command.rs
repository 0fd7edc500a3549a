//! The partition's own commands: control entries of its log, which take no offset.
//!
//! They are protobuf, and every one carries its version. A number or a field that was
//! given out is never given another meaning.

use bytes::Bytes;
use highwater_types::Offset;
use prost::Message as _;

/// Version of the encoding.
const VERSION: u32 = 1;

/// A control entry of a partition's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionCommand {
    /// Moves the log start (R8). Going back has no effect.
    SetLogStart {
        /// The first offset that stays readable.
        offset: Offset,
        /// Why the records before it go.
        reason: LogStartReason,
    },
    /// Changes nothing. When it is applied, all that was proposed before it in its term is
    /// applied too.
    Barrier,
}

/// Why a log start moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum LogStartReason {
    /// Not stated; never written.
    Unspecified = 0,
    /// The records were older than `retention.ms`.
    RetentionTime = 1,
    /// The partition was larger than `retention.bytes`.
    RetentionBytes = 2,
    /// A client asked for it.
    DeleteRecords = 3,
}

/// Why a control entry could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Not protobuf of this shape.
    #[error("a partition command of {bytes} bytes does not decode: {detail}")]
    Malformed {
        /// Length of the command.
        bytes: usize,
        /// What the decoder says.
        detail: String,
    },
    /// Written by a newer version.
    #[error("a partition command has version {version}; this node knows up to {VERSION}")]
    Version {
        /// The version found.
        version: u32,
    },
    /// A known version, but no known command in it.
    #[error("a partition command of version {version} names no known command")]
    Unknown {
        /// The version found.
        version: u32,
    },
}

impl PartitionCommand {
    /// The command as a control entry holds it.
    pub fn encode(self) -> Bytes {
        let body = match self {
            Self::SetLogStart { offset, reason } => {
                wire::Body::SetLogStart(wire::SetLogStart { offset: offset.0, reason: reason.into() })
            }
            Self::Barrier => wire::Body::Barrier(wire::Barrier {}),
        };
        let command = wire::Command { version: VERSION, body: Some(body) };
        Bytes::from(command.encode_to_vec())
    }

    /// The inverse of [`PartitionCommand::encode`].
    ///
    /// # Errors
    /// When the bytes are no command, or one of a newer version.
    pub fn decode(bytes: &[u8]) -> Result<Self, CommandError> {
        let command = wire::Command::decode(bytes)
            .map_err(|error| CommandError::Malformed { bytes: bytes.len(), detail: error.to_string() })?;
        let version = command.version;
        if version != VERSION {
            return Err(CommandError::Version { version });
        }
        match command.body {
            Some(wire::Body::SetLogStart(set)) => {
                Ok(Self::SetLogStart { offset: Offset(set.offset), reason: set.reason() })
            }
            Some(wire::Body::Barrier(wire::Barrier {})) => Ok(Self::Barrier),
            None => Err(CommandError::Unknown { version }),
        }
    }
}

/// The protobuf messages.
mod wire {
    use super::LogStartReason;

    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub(super) struct Command {
        #[prost(uint32, tag = "1")]
        pub(super) version: u32,
        #[prost(oneof = "Body", tags = "2, 3")]
        pub(super) body: Option<Body>,
    }

    #[derive(Clone, PartialEq, Eq, prost::Oneof)]
    pub(super) enum Body {
        #[prost(message, tag = "2")]
        SetLogStart(SetLogStart),
        #[prost(message, tag = "3")]
        Barrier(Barrier),
    }

    #[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
    pub(super) struct SetLogStart {
        #[prost(int64, tag = "1")]
        pub(super) offset: i64,
        #[prost(enumeration = "LogStartReason", tag = "2")]
        pub(super) reason: i32,
    }

    #[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
    pub(super) struct Barrier {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_survive_their_persisted_form() {
        let set =
            PartitionCommand::SetLogStart { offset: Offset(1234), reason: LogStartReason::RetentionBytes };
        for command in [set, PartitionCommand::Barrier] {
            assert_eq!(PartitionCommand::decode(&command.encode()), Ok(command));
        }
    }

    #[test]
    fn a_command_of_a_newer_version_is_refused_and_never_guessed() {
        let newer = wire::Command { version: 2, body: Some(wire::Body::Barrier(wire::Barrier {})) };
        assert_eq!(PartitionCommand::decode(&newer.encode_to_vec()), Err(CommandError::Version { version: 2 }));
        let unknown = wire::Command { version: 1, body: None };
        assert_eq!(
            PartitionCommand::decode(&unknown.encode_to_vec()),
            Err(CommandError::Unknown { version: 1 })
        );
        assert!(PartitionCommand::decode(&[0xff]).is_err());
    }
}
