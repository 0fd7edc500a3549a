//! A consumer that speaks GroupSession by hand.

use std::collections::{BTreeMap, BTreeSet};

use highwater_proto::v1;
use highwater_proto::v1::group_service_client::GroupServiceClient;
use highwater_proto::v1::group_session_request::Message as Said;
use highwater_proto::v1::group_session_response::Message as Heard;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::{TestNode, soon};

/// A client of the groups' service.
pub(crate) async fn groups(node: &TestNode) -> GroupServiceClient<Channel> {
    GroupServiceClient::new(node.connect().await).max_decoding_message_size(usize::MAX)
}

/// What a session of a group begins with, reading these topics as records with credit for everything.
pub(crate) fn start(group: &str, topics: &[&str]) -> v1::GroupSessionStart {
    v1::GroupSessionStart {
        group: group.to_owned(),
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        credit_bytes: 1 << 40,
        format: v1::RecordFormat::Records.into(),
        ..Default::default()
    }
}

/// One session, and what its client knows.
pub(crate) struct Session {
    /// Dropped first: so a session that is dropped is cancelled, and does not half-close.
    responses: Streaming<v1::GroupSessionResponse>,
    requests: Option<mpsc::UnboundedSender<v1::GroupSessionRequest>>,
    pub(crate) member_id: String,
    pub(crate) session_timeout_ms: u32,
    /// What it was assigned and not told to give up, by number, each with the next offset.
    pub(crate) owned: BTreeMap<u32, i64>,
    /// What it is to give up.
    pub(crate) revoked: BTreeSet<u32>,
    /// What it lost.
    pub(crate) lost: BTreeSet<u32>,
    /// Every record that came, in order: partition, offset and value.
    pub(crate) records: Vec<(u32, i64, Vec<u8>)>,
    pub(crate) committed: Vec<v1::GroupSessionCommitted>,
    /// The credit that the last push took.
    pub(crate) charged_bytes: u64,
    topic: String,
}

impl Session {
    /// Opens a session and waits until it is a member.
    pub(crate) async fn open(node: &TestNode, start: v1::GroupSessionStart) -> Self {
        Self::try_open(node, start).await.expect("it is a member")
    }

    pub(crate) async fn try_open(node: &TestNode, start: v1::GroupSessionStart) -> Result<Self, Status> {
        let topic = start.topics.first().cloned().unwrap_or_default();
        let mut session = Self::begin(node, Said::Start(start), topic).await?;
        while session.member_id.is_empty() {
            session.hear().await?;
        }
        Ok(session)
    }

    /// Opens a stream with any first message.
    pub(crate) async fn begin(node: &TestNode, first: Said, topic: String) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::unbounded_channel();
        requests.send(v1::GroupSessionRequest { message: Some(first) }).expect("it is open");
        let stream = UnboundedReceiverStream::new(receiver);
        let responses = groups(node).await.group_session(stream).await?.into_inner();
        Ok(Self {
            requests: Some(requests),
            responses,
            member_id: String::new(),
            session_timeout_ms: 0,
            owned: BTreeMap::new(),
            revoked: BTreeSet::new(),
            lost: BTreeSet::new(),
            records: Vec::new(),
            committed: Vec::new(),
            charged_bytes: 0,
            topic,
        })
    }

    pub(crate) fn say(&self, message: Said) {
        let requests = self.requests.as_ref().expect("it has not half-closed");
        // A stream that has ended says so itself.
        let _ = requests.send(v1::GroupSessionRequest { message: Some(message) });
    }

    /// Takes one message in. Checks what is promised of each.
    pub(crate) async fn hear(&mut self) -> Result<(), Status> {
        let response = soon("the session says something", self.responses.message()).await?;
        let Some(response) = response else { return Err(Status::ok("the end")) };
        match response.message.expect("always set") {
            Heard::Joined(joined) => {
                (self.member_id, self.session_timeout_ms) = (joined.member_id, joined.session_timeout_ms);
            }
            Heard::Assigned(assigned) => {
                for partition in assigned.partitions {
                    let before = self.owned.insert(partition.partition, partition.start_offset);
                    assert_eq!(before, None, "{} is assigned twice", partition.partition);
                }
            }
            Heard::Revoked(revoked) => {
                for partition in revoked.topics.iter().flat_map(|topic| topic.partitions.iter().copied()) {
                    let was_owned = self.owned.remove(&partition).is_some() | self.revoked.remove(&partition);
                    assert!(was_owned, "{partition} was not owned");
                    let told = if revoked.is_lost { &mut self.lost } else { &mut self.revoked };
                    told.insert(partition);
                }
                assert_eq!(revoked.is_lost, revoked.deadline_ms == 0, "{revoked:?}");
            }
            Heard::Push(push) => {
                let data = push.data.expect("always set");
                self.charged_bytes = push.charged_bytes;
                let next = self.owned.get_mut(&push.partition).expect("records of what it owns only");
                for record in data.records {
                    let offset = record.offset.expect("each has one");
                    assert_eq!(offset, *next, "partition {}", push.partition);
                    *next += 1;
                    let value = record.value.unwrap_or_default().to_vec();
                    self.records.push((push.partition, offset, value));
                }
            }
            Heard::Committed(committed) => self.committed.push(committed),
        }
        Ok(())
    }

    /// Takes messages in until this holds.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            self.hear().await.unwrap_or_else(|status| panic!("{what}: {status:?}"));
        }
    }

    /// The values that came, in no order.
    pub(crate) fn values(&self) -> BTreeSet<Vec<u8>> {
        self.records.iter().map(|(_, _, value)| value.clone()).collect()
    }

    /// Commits an offset of each of these and waits for the answer: the code of each that was refused.
    pub(crate) async fn commit(&mut self, offsets: &[(u32, i64)]) -> Vec<Option<String>> {
        let correlation_id = u64::try_from(self.committed.len()).expect("few");
        self.say_commit(correlation_id, offsets);
        self.until("the commit is answered", |session| {
            session.committed.iter().any(|committed| committed.correlation_id == correlation_id)
        })
        .await;
        let results = self.committed.last().expect("one").results.clone();
        results.into_iter().map(|result| result.error.map(|error| error.code)).collect()
    }

    pub(crate) fn say_commit(&self, correlation_id: u64, offsets: &[(u32, i64)]) {
        let offsets = offsets.iter().map(|(partition, offset)| v1::OffsetCommit {
            topic: self.topic.clone(),
            partition: *partition,
            offset: *offset,
            ..Default::default()
        });
        self.say(Said::Commit(v1::GroupSessionCommit { correlation_id, offsets: offsets.collect() }));
    }

    /// Commits how far all has come that it owns.
    pub(crate) async fn commit_all(&mut self) {
        let offsets: Vec<_> = self.owned.iter().map(|(partition, next)| (*partition, *next)).collect();
        let refused = self.commit(&offsets).await;
        assert!(refused.iter().all(Option::is_none), "{refused:?}");
    }

    /// Says that it gave up what it was to.
    pub(crate) fn release(&mut self) {
        let partitions: Vec<u32> = std::mem::take(&mut self.revoked).into_iter().collect();
        let topic = v1::TopicPartitions { topic: self.topic.clone(), partitions, ..Default::default() };
        self.say(Said::Released(v1::GroupSessionReleased { topics: vec![topic] }));
    }

    pub(crate) fn half_close(&mut self) {
        self.requests = None;
    }

    /// Waits for the end of the stream and says how it ended.
    pub(crate) async fn end(&mut self) -> Result<(), Status> {
        loop {
            match self.hear().await {
                Ok(()) => {}
                Err(status) if status.code() == tonic::Code::Ok => return Ok(()),
                Err(status) => return Err(status),
            }
        }
    }
}
