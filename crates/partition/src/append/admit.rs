//! How a waiting request becomes a proposal: its sequence is checked against what is
//! applied and in flight, room is reserved, the log's time put in, records built into a
//! batch. Synchronous: nothing comes between the check and its place in the round.

use std::ops::ControlFlow;

use highwater_records::{Batch, BatchHeader};
use highwater_types::{Offset, ProducerId, TimestampMs, TimestampType, TopicConfig};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::appender::{Appender, Proposed, Round, respond};
use super::coalesce::{Run, build_batch};
use super::{Appended, Reply, Request, Work};
use crate::admission::check_size;
use crate::error::PartitionError;
use crate::producer_state::Verdict;
use crate::replica::{NoRoom, Replica, Write};

/// Most batches of the broker's own in flight, before records that wait are left to
/// collect: one, so that the more wait the more share an entry, without a timer.
const BUILT_IN_FLIGHT_MAX: usize = 1;

impl<R: Replica> Appender<R> {
    /// Takes the head of the queue into the round, or refuses it. Breaks when the head has to
    /// wait, or nothing is left.
    pub(super) fn admit_next(&mut self, round: &mut Round<R>) -> ControlFlow<()> {
        let Some(head) = self.waiting.front() else {
            return ControlFlow::Break(());
        };
        if head.deadline <= Instant::now() {
            self.refuse_head(&PartitionError::DeadlinePassed);
            return ControlFlow::Continue(());
        }
        let config = self.partition.config();
        match &head.work {
            Work::Batch(batch) => {
                let batch = batch.clone();
                self.admit_batch(batch, &config, round)
            }
            Work::Records(_) => self.admit_run(&config, round),
        }
    }

    /// A producer's own batch.
    fn admit_batch(&mut self, batch: Batch, config: &TopicConfig, round: &mut Round<R>) -> ControlFlow<()> {
        let is_sequenced = batch.producer_id().is_some();
        if is_sequenced {
            match self.check_sequence(&batch) {
                Ok(Verdict::New) => {}
                Ok(Verdict::Duplicate { base_offset, timestamp }) => {
                    self.answer_duplicate(base_offset, timestamp, config);
                    return ControlFlow::Continue(());
                }
                Ok(Verdict::InFlight { number }) => {
                    let (reply, _) = self.take_head();
                    self.duplicates.entry(number).or_default().push(reply);
                    return ControlFlow::Continue(());
                }
                Err(error) => {
                    self.answer_head(Err(error));
                    return ControlFlow::Continue(());
                }
            }
        }
        let Some(reservation) = self.reserve_for_head(batch.size_in_bytes())? else {
            return ControlFlow::Continue(());
        };
        let (reply, permit) = self.take_head();
        let number = self.take_number();
        if is_sequenced {
            self.in_flight.insert(batch.header(), number);
        }
        let (batch, log_append_time) = self.put_log_time(batch, config);
        round.writes.push(Write::Batch { batch, reservation });
        round.proposed.push(Proposed {
            number,
            replies: vec![(reply, 0)],
            log_append_time,
            is_built: false,
            permits: vec![permit],
        });
        ControlFlow::Continue(())
    }

    /// The records at the head, as one batch.
    fn admit_run(&mut self, config: &TopicConfig, round: &mut Round<R>) -> ControlFlow<()> {
        let run = Run::at_head(&self.waiting, config.max_message_bytes);
        if !run.is_closed && self.built_in_flight >= BUILT_IN_FLIGHT_MAX {
            return ControlFlow::Break(());
        }
        let records_bytes: usize = self.waiting.iter().take(run.requests).map(|request| request.bytes).sum();
        let Some(reservation) = self.reserve_for_head(records_bytes + BatchHeader::LEN)? else {
            return ControlFlow::Continue(());
        };
        let requests: Vec<Request> = self.waiting.drain(..run.requests).collect();
        let records = requests.iter().flat_map(|request| match &request.work {
            Work::Records(records) => records.as_slice(),
            Work::Batch(_) => &[],
        });
        let built = build_batch(records, self.partition.clock.now())
            .map_err(PartitionError::from)
            .and_then(|batch| check_size(batch.size_in_bytes(), config).map(|()| batch));
        let batch = match built {
            Ok(batch) => batch,
            Err(error) => {
                for request in requests {
                    respond(request.reply, Err(error.clone()));
                }
                return ControlFlow::Continue(());
            }
        };
        let (batch, log_append_time) = self.put_log_time(batch, config);
        let (replies, permits) = share(requests);
        let number = self.take_number();
        self.built_in_flight += 1;
        round.writes.push(Write::Batch { batch, reservation });
        round.proposed.push(Proposed { number, replies, log_append_time, is_built: true, permits });
        ControlFlow::Continue(())
    }

    /// Compares a batch with what its producer wrote last.
    fn check_sequence(&self, batch: &Batch) -> Result<Verdict, PartitionError> {
        let producers = self.partition.applied.producers.lock();
        Ok(self.in_flight.check(&producers, batch.header())?)
    }

    /// Room for the head of the queue: `None` when it was refused. Breaks when there will be
    /// room soon.
    fn reserve_for_head(&mut self, bytes: usize) -> ControlFlow<(), Option<R::Reservation>> {
        match self.partition.replica.reserve(bytes) {
            Ok(reservation) => ControlFlow::Continue(Some(reservation)),
            Err(NoRoom::Busy) => {
                self.waits_for_room = true;
                ControlFlow::Break(())
            }
            Err(NoRoom::Refused(error)) => {
                self.refuse_head(&error);
                ControlFlow::Continue(None)
            }
        }
    }

    /// Replaces the producer's time where the topic says so.
    fn put_log_time(&self, batch: Batch, config: &TopicConfig) -> (Batch, Option<TimestampMs>) {
        match config.message_timestamp_type {
            TimestampType::CreateTime => (batch, None),
            TimestampType::LogAppendTime => {
                let now = self.partition.clock.now();
                (batch.with_log_append_time(now), Some(now))
            }
        }
    }

    /// Answers the head, which is in the log already, with the original's offset.
    fn answer_duplicate(&mut self, base_offset: Offset, timestamp: TimestampMs, config: &TopicConfig) {
        let is_log_time = config.message_timestamp_type == TimestampType::LogAppendTime;
        let appended = Appended {
            base_offset,
            log_append_time: is_log_time.then_some(timestamp),
            log_start: self.partition.replica.watermarks().log_start(),
        };
        self.answer_head(Ok(appended));
    }

    /// Refuses the head for now, and with it what its producer sent behind it: that cannot follow
    /// what is not there, and is told the reason rather than the gap.
    fn refuse_head(&mut self, error: &PartitionError) {
        let producer = self.waiting.front().and_then(producer_of);
        self.answer_head(Err(error.clone()));
        if producer.is_none() {
            return;
        }
        self.partition.queue.drain_into(&mut self.waiting);
        for request in std::mem::take(&mut self.waiting) {
            if producer_of(&request) == producer {
                respond(request.reply, Err(error.clone()));
            } else {
                self.waiting.push_back(request);
            }
        }
    }

    /// Takes the head off the queue and answers it.
    fn answer_head(&mut self, outcome: Result<Appended, PartitionError>) {
        let (reply, _) = self.take_head();
        respond(reply, outcome);
    }

    /// Takes the head off the queue.
    fn take_head(&mut self) -> (Reply, OwnedSemaphorePermit) {
        let head = self.waiting.pop_front().expect("the queue has a head");
        (head.reply, head.permit)
    }
}

/// The idempotent producer of a batch.
fn producer_of(request: &Request) -> Option<ProducerId> {
    match &request.work {
        Work::Batch(batch) => Some(batch.producer_id()).filter(|producer| producer.is_some()),
        Work::Records(_) => None,
    }
}

/// Who gets which part of a batch of all these requests' records.
fn share(requests: Vec<Request>) -> (Vec<(Reply, i64)>, Vec<OwnedSemaphorePermit>) {
    let mut replies = Vec::with_capacity(requests.len());
    let mut permits = Vec::with_capacity(requests.len());
    let mut first_record = 0;
    for request in requests {
        let Work::Records(records) = request.work else {
            unreachable!("a run consists of records");
        };
        replies.push((request.reply, first_record));
        permits.push(request.permit);
        first_record += i64::try_from(records.len()).expect("a batch's records fit 31 bits");
    }
    (replies, permits)
}
