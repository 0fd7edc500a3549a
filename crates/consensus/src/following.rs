//! Publishes how a group stands, as its core says, until the core ends; and tells of a core that ended by itself.
//!
//! It decides nothing: whether a leader really serves is asked of [`Group::status`](crate::group::Group::status).

use std::collections::BTreeSet;
use std::sync::Arc;

use highwater_types::{GroupId, NodeId, Term, mutant};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::metrics::RaftServerMetrics;
use openraft::{Raft, ServerState};
use tokio::sync::watch;

use crate::apply_gate::ApplyGate;
use crate::driver::Driver;
use crate::group::GroupStatus;
use crate::state_machine::StateMachine;
use crate::type_config::Types;

/// The task of one running group.
pub(crate) struct Following {
    pub(crate) raft: Raft<Types, StateMachine>,
    pub(crate) applied_term: watch::Receiver<Term>,
    pub(crate) status: watch::Sender<GroupStatus>,
    pub(crate) id: GroupId,
    pub(crate) failure: watch::Sender<Option<String>>,
    pub(crate) gate: Arc<ApplyGate>,
    pub(crate) driver: Arc<Driver>,
    pub(crate) changes: watch::Sender<u64>,
}

impl Following {
    pub(crate) async fn run(self) {
        let Self { raft, mut applied_term, status, id, failure, gate, driver, changes } = self;
        let mut server = raft.server_metrics();
        let metrics = raft.metrics();
        drop(raft);
        loop {
            let next = status_of(&server.borrow_and_update(), *applied_term.borrow_and_update());
            let is_new = status.send_if_modified(|current| {
                let changed = *current != next;
                *current = next;
                changed
            });
            if is_new {
                driver.attend(id);
                changes.send_modify(|count| *count += 1);
            }
            let changed = tokio::select! {
                changed = server.changed() => changed.is_ok(),
                changed = applied_term.changed() => changed.is_ok(),
            };
            if !changed {
                break;
            }
        }
        let ended = metrics.borrow_watched().running_state.clone();
        if let Err(fatal) = ended
            && !matches!(fatal, openraft::errors::Fatal::Stopped)
            && !gate.is_stopped()
        {
            let reason = format!("the core of group {id} ended: {fatal}");
            tracing::error!(
                reason,
                "a group failed; the node must end, its restart applies the group's log again"
            );
            failure.send_if_modified(|first| {
                let is_first = first.is_none();
                first.get_or_insert(reason);
                is_first
            });
        }
    }
}

fn status_of(metrics: &RaftServerMetrics<Types>, applied_term: Term) -> GroupStatus {
    let is_leader = metrics.state == ServerState::Leader && metrics.current_leader == Some(metrics.id);
    let term = Term(metrics.vote.leader_id().term);
    let membership = metrics.membership_config.membership();
    let set = |nodes: &BTreeSet<u64>| nodes.iter().copied().map(NodeId).collect();
    GroupStatus {
        leader: metrics.current_leader.map(NodeId),
        term,
        is_leader,
        is_serving: is_leader && (applied_term == term || mutant!(EarlyLeader)),
        quarantined: None,
        voters: membership.get_joint_config().iter().map(set).collect(),
        learners: Arc::new(membership.learner_ids().map(NodeId).collect()),
    }
}
