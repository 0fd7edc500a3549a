//! A session that has begun: who does what in it. What it knows of the client's partitions is in the [`Ledger`].

use std::collections::VecDeque;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;

use highwater_broker::Broker;
use highwater_groups::PartitionSet;
use highwater_groups::membership::Change;
use highwater_proto::v1;
use highwater_proto::v1::group_session_request::Message as Said;
use highwater_proto::v1::group_session_response::Message;
use highwater_types::PartitionId;

use super::keeper::{Keeper, Kept};
use super::ledger::Ledger;
use super::orders::{Commit, Done, NewOffset, Order, Orders};
use super::protocol;
use super::reader::{Push, Reader, Start};
use crate::grpc::outlet::{End, Outlet};
use crate::grpc::status::status;

/// Commits and releases of one session that wait. The client's next message is read when there is room.
const ORDERS_WAITING_MAX: usize = 256;
/// Messages that wait to be sent to one client.
const MESSAGES_WAITING_MAX: usize = 256;

type Sending = Pin<Box<dyn Future<Output = Result<(), End>> + Send>>;

/// See the module.
pub(super) struct Session {
    broker: Arc<Broker>,
    outlet: Outlet<v1::GroupSessionResponse>,
    keeper: Keeper,
    reader: Reader,
    orders: Orders,
    ledger: Ledger,
    credit: i128,
    /// What is to be told besides records.
    messages: VecDeque<v1::GroupSessionResponse>,
    sending: Option<Sending>,
}

impl Session {
    pub(super) fn new(
        broker: Arc<Broker>,
        outlet: Outlet<v1::GroupSessionResponse>,
        keeper: Keeper,
        reader: Reader,
        orders: Orders,
        credit_bytes: u64,
    ) -> Self {
        let (ledger, messages) = (Ledger::default(), VecDeque::new());
        let credit = i128::from(credit_bytes);
        Self { broker, outlet, keeper, reader, orders, ledger, credit, messages, sending: None }
    }

    /// Whether the client's next message can be taken in.
    pub(super) fn has_room(&self) -> bool {
        self.orders.len() < ORDERS_WAITING_MAX && self.messages.len() < MESSAGES_WAITING_MAX
    }

    /// Does one thing of what is to be done. Cancel-safe.
    pub(super) async fn work(&mut self) -> Result<(), End> {
        self.send_next();
        let has_credit = self.credit > 0;
        tokio::select! {
            biased;
            sent = sent(&mut self.sending) => sent?,
            kept = self.keeper.next() => self.follow(kept)?,
            done = self.orders.next() => self.finish(done),
            starts = self.reader.next(has_credit) => self.tell_starts(starts),
        }
        Ok(())
    }

    /// Begins to send what is to be sent next: records only when nothing else is.
    fn send_next(&mut self) {
        if self.sending.is_some() {
            return;
        }
        let (message, bytes) = match self.messages.pop_front() {
            Some(message) => (message, 0),
            None => match if self.credit > 0 { self.reader.take() } else { None } {
                Some(push) => {
                    self.credit -= i128::try_from(push.bytes).unwrap_or(i128::MAX);
                    let bytes = push.bytes;
                    (message_of(push), bytes)
                }
                None => return,
            },
        };
        let outlet = self.outlet.clone();
        self.sending = Some(Box::pin(async move { outlet.send(message, bytes).await }));
    }

    fn tell(&mut self, message: Message) {
        self.messages.push_back(v1::GroupSessionResponse { message: Some(message) });
    }

    /// Does as the group's coordinator says.
    fn follow(&mut self, kept: Kept) -> Result<(), End> {
        match kept {
            Kept::Joined => {
                let session_timeout = self.keeper.session_timeout();
                self.tell(Message::Joined(v1::GroupSessionJoined {
                    member_id: self.keeper.member_id().to_owned(),
                    session_timeout_ms: u32::try_from(session_timeout.as_millis()).unwrap_or(u32::MAX),
                }));
            }
            Kept::Changed(change) => self.change(change),
            Kept::Failed(error) => return Err(End::Failed(status(error))),
        }
        Ok(())
    }

    fn change(&mut self, change: Change) {
        let Change { assigned, revoked, lost } = change;
        self.lose(&lost);
        self.reader.end(&revoked);
        let (gone, revoked): (Vec<PartitionId>, Vec<_>) =
            revoked.iter().partition(|partition| self.broker.topic_name(partition.topic).is_none());
        let gone = gone.into();
        self.lose(&gone);
        let (revoked, unknown) = self.ledger.revoke(&revoked.into());
        let within = self.keeper.release_within();
        self.tell_revoked(revoked, Some(u32::try_from(within.as_millis()).unwrap_or(u32::MAX)));
        for given_up in [gone, unknown] {
            self.give_up(&given_up);
        }

        self.reader.begin(&assigned, self.keeper.names());
    }

    fn lose(&mut self, partitions: &PartitionSet) {
        self.reader.end(partitions);
        let topics = self.ledger.lose(partitions);
        self.tell_revoked(topics, None);
    }

    /// Without a deadline they are lost.
    fn tell_revoked(&mut self, topics: Vec<v1::TopicPartitions>, deadline_ms: Option<u32>) {
        if !topics.is_empty() {
            let deadline_or_0 = deadline_ms.unwrap_or(0);
            let is_lost = deadline_ms.is_none();
            self.tell(Message::Revoked(v1::GroupSessionRevoked {
                topics,
                is_lost,
                deadline_ms: deadline_or_0,
            }));
        }
    }

    fn give_up(&mut self, partitions: &PartitionSet) {
        let Change { assigned, .. } = self.keeper.released(partitions);
        self.reader.begin(&assigned, self.keeper.names());
    }

    fn tell_starts(&mut self, starts: Vec<Start>) {
        if starts.is_empty() {
            return;
        }
        let partitions = starts.into_iter().map(|Start { partition, topic, offset }| {
            self.ledger.assign(partition, &topic);
            v1::GroupSessionPartition {
                topic,
                topic_id: partition.topic.to_string(),
                partition: partition.index.0,
                start_offset: offset.0,
            }
        });
        let partitions = partitions.collect();
        self.tell(Message::Assigned(v1::GroupSessionAssigned { partitions }));
    }

    /// Takes in what the client says.
    pub(super) fn take(&mut self, request: v1::GroupSessionRequest) -> Result<(), End> {
        match request.message {
            Some(Said::Credit(credit)) => self.credit += i128::from(credit.bytes),
            Some(Said::Commit(commit)) => {
                let commit = self.commit(commit);
                self.orders.push(Order::Commit(commit));
            }
            Some(Said::Released(released)) => {
                let released = self.ledger.release(&released.topics);
                self.orders.push(Order::Release(released));
            }
            Some(Said::Start(_)) => return Err(protocol("only the first message of a session may be 'start'")),
            None => return Err(protocol("a message says nothing that this version knows")),
        }
        Ok(())
    }

    /// A commit in the member's name as it is now: what it loses later does not count any more.
    fn commit(&self, commit: v1::GroupSessionCommit) -> Commit {
        let committer = self.keeper.epoch().map(|epoch| (self.keeper.member_id().to_owned(), epoch));
        let offsets = commit.offsets.into_iter().map(|mut commit| {
            let found = self.ledger.find(&commit.topic, &commit.topic_id, commit.partition);
            if let Some(found) = found {
                commit.topic_id = found.topic.to_string();
            }
            NewOffset { commit, is_its: found.is_some() }
        });
        Commit { correlation_id: commit.correlation_id, committer, offsets: offsets.collect() }
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Committed(commits) => {
                commits.into_iter().for_each(|committed| self.tell(Message::Committed(committed)));
            }
            Done::Released(partitions) => self.give_up(&partitions),
        }
    }

    /// Does what the client asked for before it half-closed, and leaves. What it asked for is answered if it is still there.
    pub(super) async fn leave(mut self) -> End {
        self.credit = 0;
        self.messages.retain(is_answer);
        while self.orders.len() > 0 {
            self.send_next();
            tokio::select! {
                biased;
                sent = sent(&mut self.sending) => if sent.is_err() { self.messages.clear() },
                done = self.orders.next() => if let Done::Committed(_) = &done { self.finish(done) },
                kept = self.keeper.next() => if let Kept::Failed(_) = kept { break },
            }
        }
        let Self { keeper, outlet, messages, mut sending, .. } = self;
        keeper.leave().await;
        if sending.is_some() && sent(&mut sending).await.is_err() {
            return End::ClientGone;
        }
        for message in messages {
            if let Err(end) = outlet.send(message, 0).await {
                return end;
            }
        }
        End::Ok
    }
}

/// Waits until what is being sent has been. Never, when nothing is.
async fn sent(sending: &mut Option<Sending>) -> Result<(), End> {
    let Some(under_way) = sending else { return pending().await };
    let outcome = under_way.await;
    *sending = None;
    outcome
}

fn is_answer(message: &v1::GroupSessionResponse) -> bool {
    matches!(message.message, Some(Message::Committed(_)))
}

fn message_of(push: Push) -> v1::GroupSessionResponse {
    let Push { topic, data, bytes, partition, .. } = push;
    let lag = u64::try_from(data.high_watermark.saturating_sub(data.next_offset)).unwrap_or(0);
    let push = v1::GroupSessionPush {
        topic,
        topic_id: partition.topic.to_string(),
        partition: partition.index.0,
        data: Some(data),
        charged_bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
        lag,
    };
    v1::GroupSessionResponse { message: Some(Message::Push(push)) }
}
