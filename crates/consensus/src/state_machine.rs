//! openraft's state machine over a [`GroupLog`]: committed entries are applied there.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use highwater_storage::{AppliedEntry, BuiltSnapshot, Entry, GroupLog, Payload};
use highwater_types::{Clock, Term, limits};
use openraft::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{OptionalSend, Snapshot, SnapshotMeta, StoredMembership};
use tokio::sync::watch;

use crate::apply_gate::ApplyGate;
use crate::convert;
use crate::follower_room::FollowerRoom;
use crate::membership;
use crate::type_config::{Response, Types};

/// Applies a group's committed entries.
pub(crate) struct StateMachine {
    log: Arc<GroupLog>,
    clock: Arc<dyn Clock>,
    /// The term of the last applied entry: a leader serves once it has applied one of its own (R18). It is closed when this state
    /// machine and all that it builds are gone: nothing of the core touches the log from then on.
    applied_term: Arc<watch::Sender<Term>>,
    gate: Arc<ApplyGate>,
    room: Arc<FollowerRoom>,
}

impl StateMachine {
    pub(crate) fn new(
        log: Arc<GroupLog>,
        clock: Arc<dyn Clock>,
        applied_term: watch::Sender<Term>,
        gate: Arc<ApplyGate>,
        room: Arc<FollowerRoom>,
    ) -> Self {
        Self { log, clock, applied_term: Arc::new(applied_term), gate, room }
    }

    async fn apply_chunk(&self, chunk: Vec<Result<EntryResponder<Types>, io::Error>>) -> Result<(), io::Error> {
        let mut entries = Vec::with_capacity(chunk.len());
        let mut responders: Vec<Option<ApplyResponder<Types>>> = Vec::with_capacity(chunk.len());
        for item in chunk {
            let (entry, responder) = item?;
            entries.push(convert::stored_entry(entry)?);
            responders.push(responder);
        }
        let blank: Vec<bool> = entries.iter().map(|entry| matches!(entry.payload, Payload::Blank)).collect();
        let Some(term) = entries.last().map(|entry| entry.id.term) else { return Ok(()) };
        let applied = self.apply_all(entries.into()).await?;
        // Before the answers go out, so that who got one finds the group serving.
        self.applied_term.send_if_modified(|current| std::mem::replace(current, term) != term);
        for entry in &applied {
            self.room.applied(entry.id.index);
        }
        for ((entry, is_blank), responder) in applied.into_iter().zip(blank).zip(responders) {
            let Some(responder) = responder else { continue };
            responder.send(match is_blank {
                // Nobody proposes a blank entry and waits for it.
                true => Response::Overtaking,
                false => Response::Applied { base_offset: entry.base_offset, response: entry.response },
            });
        }
        Ok(())
    }

    /// Applies all of the entries, waiting for room on the disk when there is none.
    async fn apply_all(&self, mut entries: VecDeque<Entry>) -> Result<Vec<AppliedEntry>, io::Error> {
        let mut applied = Vec::with_capacity(entries.len());
        let mut is_first = true;
        loop {
            // openraft would not notice that its worker is gone: a panic becomes an error, which ends the group and with it the node.
            let apply = AssertUnwindSafe(|| self.log.apply_from(&mut entries, self.clock.now(), &mut applied));
            match catch_unwind(apply) {
                Ok(Ok(())) => break,
                Ok(Err(error)) => self.gate.failed(error, is_first).await.map_err(convert::io_error)?,
                Err(_) => {
                    return Err(io::Error::other(format!("applying to group {} panicked", self.log.id())));
                }
            }
            is_first = false;
        }
        if !is_first {
            self.gate.resumed();
        }
        Ok(applied)
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogIdOf<Types>>, StoredMembershipOf<Types>), io::Error> {
        applied_state(&self.log)
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut chunks = entries.ready_chunks(limits::APPLIED_AT_ONCE_MAX);
        while let Some(chunk) = chunks.next().await {
            self.apply_chunk(chunk).await?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder { log: self.log.clone(), _applied_term: self.applied_term.clone() }
    }

    /// Durable on return, as openraft purges the log up to it then.
    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<Types>,
        snapshot: Bytes,
    ) -> Result<(), io::Error> {
        let Some(last) = meta.last_log_id.as_ref().map(convert::log_id) else { return Ok(()) };
        let mut is_first = true;
        while let Err(error) = self.log.install_snapshot(snapshot.clone()).await {
            self.gate.failed(error, is_first).await.map_err(convert::io_error)?;
            is_first = false;
        }
        if !is_first {
            self.gate.resumed();
        }
        self.applied_term.send_if_modified(|current| std::mem::replace(current, last.term) != last.term);
        self.room.passed(last.index);
        tracing::info!(group = %self.log.id(), %last, "the log goes on after the state that the leader sent");
        Ok(())
    }

    /// openraft asks for it once a purge is scheduled, and ends the leader when there is none then.
    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<Types, Bytes>>, io::Error> {
        self.log.current_snapshot().await.map(raft_snapshot).transpose()
    }
}

fn applied_state(log: &GroupLog) -> Result<(Option<LogIdOf<Types>>, StoredMembershipOf<Types>), io::Error> {
    let (applied, membership) = log.applied();
    Ok((applied.map(convert::raft_log_id), stored_membership(membership)?))
}

fn stored_membership(membership: Option<Entry>) -> Result<StoredMembershipOf<Types>, io::Error> {
    Ok(match membership {
        None => StoredMembership::default(),
        Some(entry) => match &entry.payload {
            Payload::Membership(bytes) => {
                StoredMembership::new(Some(convert::raft_log_id(entry.id)), membership::decode(bytes)?)
            }
            _ => {
                return Err(io::Error::other(format!(
                    "entry {} is kept as a membership but is none",
                    entry.id
                )));
            }
        },
    })
}

fn raft_snapshot(built: BuiltSnapshot) -> Result<SnapshotOf<Types, Bytes>, io::Error> {
    let last_membership = stored_membership(built.membership)?;
    let meta = SnapshotMeta { last_log_id: Some(convert::raft_log_id(built.last)), last_membership };
    Ok(Snapshot { meta, snapshot: built.bytes })
}

/// Makes the snapshot that lets the log's start be purged. Of a log with batches it is the state as of the purge point,
/// not as of the last applied entry (R17).
pub(crate) struct SnapshotBuilder {
    log: Arc<GroupLog>,
    /// See [`StateMachine`].
    _applied_term: Arc<watch::Sender<Term>>,
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types, Bytes>, io::Error> {
        match self.log.build_snapshot().await {
            Some(built) => raft_snapshot(built),
            // openraft passes over it, as it is not newer than none.
            None => Ok(Snapshot { meta: SnapshotMeta::default(), snapshot: Bytes::new() }),
        }
    }
}
