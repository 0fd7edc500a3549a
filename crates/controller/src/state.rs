//! The state machine: commands in, responses and deltas out. It holds one image and
//! nothing else.

use bytes::Bytes;

use crate::codec;
use crate::command::MetadataCommand;
use crate::decision::{Decision, decide};
use crate::delta::MetadataDelta;
use crate::error::MetadataError;
use crate::image::MetadataImage;
use crate::response::MetadataResponse;

/// What applying a command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// For the proposer.
    pub result: Result<MetadataResponse, MetadataError>,
    /// For this node; empty when the command was refused or changed nothing.
    pub delta: MetadataDelta,
}

/// Cluster metadata, as the commands so far made it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetadataState {
    image: MetadataImage,
}

impl MetadataState {
    /// The metadata as it is now. A clone is cheap and does not change with the state.
    pub fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// Whether the command would be accepted now. The final word is that of
    /// [`MetadataState::apply`], which may come after other commands.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn check(&self, command: &MetadataCommand) -> Result<(), MetadataError> {
        self.decide(command).map(|_| ())
    }

    /// Decides a command, unless it is one that this build could not go on after: the cluster rises to
    /// a level that it does not know.
    fn decide(&self, command: &MetadataCommand) -> Result<Decision, MetadataError> {
        let decision = decide(&self.image, command)?;
        match command {
            MetadataCommand::RaiseFeatureLevel { level } if !level.is_supported() => {
                Err(MetadataError::UnknownFeatureLevel { level: *level })
            }
            _ => Ok(decision),
        }
    }

    /// Applies a command, or refuses it and changes nothing. Deterministic, but for
    /// [`MetadataError::UnknownFeatureLevel`], which says that only a newer build can apply it.
    pub fn apply(&mut self, command: &MetadataCommand) -> Applied {
        let from = self.image.version();
        let decided = self.decide(command).map(|decision| {
            if !decision.effects.is_empty() {
                self.image.evolve(decision.effects);
            }
            (decision.outcome, decision.changes)
        });
        let to = self.image.version();
        match decided {
            Ok((outcome, changes)) => Applied {
                result: Ok(MetadataResponse { version: to, outcome }),
                delta: MetadataDelta { from, to, changes },
            },
            Err(error) => {
                Applied { result: Err(error), delta: MetadataDelta { from, to, changes: Vec::new() } }
            }
        }
    }

    /// Applies a command in its replicated form and encodes the response, which
    /// [`codec::decode_response`] reads.
    ///
    /// # Errors
    /// The bytes are not a command that this build knows, or the command raises the cluster to
    /// a level that this build does not know; the state is unchanged. When such a command is
    /// *committed* that is fatal to the replica: another build may have applied it, so going
    /// on without it would let the two drift apart.
    pub fn apply_encoded(&mut self, command: &[u8]) -> Result<(Bytes, MetadataDelta), MetadataError> {
        let command = codec::decode_command(command)?;
        let applied = self.apply(&command);
        if let Err(error @ MetadataError::UnknownFeatureLevel { .. }) = applied.result {
            return Err(error);
        }
        let result = applied.result.map_err(|error| error.refusal());
        Ok((codec::encode_response(&result), applied.delta))
    }

    /// The whole state as bytes: versioned, checksummed, equal for equal states.
    pub fn snapshot(&self) -> Bytes {
        codec::encode_snapshot(&self.image)
    }

    /// The state that a snapshot was taken of.
    ///
    /// # Errors
    /// The bytes are damaged, of a newer build, or contradict themselves. There is no
    /// partial restore: a topic that is missing must never look like a deleted one.
    pub fn restore(snapshot: &[u8]) -> Result<Self, MetadataError> {
        Ok(Self { image: codec::decode_snapshot(snapshot)? })
    }
}
