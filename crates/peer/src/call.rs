//! One call of a link: what it holds while it waits, and what it comes to.

use std::sync::Arc;

use highwater_consensus::TransportError;
use highwater_types::NodeId;
use tokio::sync::oneshot;

use crate::frame::Correlation;
use crate::link::Link;
use crate::question::Reply;

/// What a call comes to.
pub(crate) enum Outcome {
    Answered(Reply),
    /// The peer took nothing, and says why.
    Refused(String),
    /// Nothing was sent.
    NotSent(String),
    /// The connection broke, or what came back is no answer.
    Broke(String),
}

impl Outcome {
    /// The link's task went away without a word: the runtime is stopping.
    pub(crate) fn gone() -> Self {
        Self::Broke("the connection is gone".to_owned())
    }

    /// As the caller is told.
    pub(crate) fn into_result(self, node: NodeId) -> Result<Reply, TransportError> {
        match self {
            Self::Answered(reply) => Ok(reply),
            Self::Refused(reason) => Err(TransportError::Refused { node, reason }),
            Self::NotSent(reason) => Err(TransportError::Unreachable { node, reason }),
            Self::Broke(reason) => Err(TransportError::Broken { node, reason }),
        }
    }
}

/// A call that waits for its answer. Dropping it takes it back, as far as that is possible.
pub(crate) struct Call<'a> {
    pub(crate) link: &'a Link,
    pub(crate) correlation: Correlation,
    pub(crate) outcome: oneshot::Receiver<Outcome>,
    /// Frames of the call are written only while this lives.
    pub(crate) interest: Arc<()>,
    /// Whether the peer waits for more of the request.
    pub(crate) is_unfinished: bool,
}

impl Call<'_> {
    /// What the call comes to.
    pub(crate) async fn outcome(&mut self) -> Outcome {
        (&mut self.outcome).await.unwrap_or_else(|_| Outcome::gone())
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.link.forget(self.correlation, self.is_unfinished);
    }
}
