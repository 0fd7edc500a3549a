//! Requests on their way to a decision, of whatever kind.

use highwater_groups::{Coordinator, Decision, GroupRecord, Now, TopicCatalog, Wake};
use tokio::sync::oneshot;

use crate::error::CoordinatorError;

/// Requests that wait for their decision, at most.
pub(crate) const QUEUE_MAX: usize = 16 * 1024;

/// A request that waits to be decided; or to be told that it will not be.
pub(crate) type Job = Box<dyn FnOnce(Result<Deciding<'_>, CoordinatorError>) -> Option<Decided> + Send>;

/// What a decision is made with.
pub(crate) struct Deciding<'a> {
    pub(crate) coordinator: &'a mut Coordinator,
    pub(crate) now: Now,
    pub(crate) topics: &'a dyn TopicCatalog,
}

/// A decision of which nobody has heard yet.
pub(crate) struct Decided {
    /// To be logged first.
    pub(crate) records: Vec<GroupRecord>,
    /// To be woken then.
    pub(crate) wakes: Vec<Wake>,
    /// Gives out the answer then, or the reason that there is none.
    pub(crate) deliver: Box<dyn FnOnce(Result<(), CoordinatorError>) + Send>,
}

impl Decided {
    /// A decision that nobody asked for.
    pub(crate) fn unasked(decision: Decision<()>) -> Self {
        Self { records: decision.records, wakes: decision.wakes, deliver: Box::new(drop) }
    }
}

/// A request, and where its answer goes.
pub(crate) fn job<T: Send + 'static>(
    decide: impl FnOnce(Deciding<'_>) -> Decision<T> + Send + 'static,
    answers: oneshot::Sender<Result<T, CoordinatorError>>,
) -> Job {
    Box::new(move |deciding| match deciding {
        Err(reason) => {
            // Whoever asked may be gone.
            let _ = answers.send(Err(reason));
            None
        }
        Ok(deciding) => {
            let Decision { records, answer, wakes } = decide(deciding);
            let deliver = move |outcome: Result<(), CoordinatorError>| {
                let answer = outcome.and_then(|()| answer.map_err(CoordinatorError::from));
                let _ = answers.send(answer);
            };
            Some(Decided { records, wakes, deliver: Box::new(deliver) })
        }
    })
}
