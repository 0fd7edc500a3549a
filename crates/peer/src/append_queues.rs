//! Keeps the appends to one group in the order of their arrival on a connection. Groups do not wait for each other.
//!
//! Invariant: a group has a queue exactly while a task handles its appends, one after the other.

use std::collections::{BTreeMap, VecDeque};

use highwater_types::GroupId;
use parking_lot::Mutex;

use crate::served_requests::Job;

/// The appends of one connection that wait for the one before.
pub(crate) struct AppendQueues {
    queues: Mutex<BTreeMap<GroupId, Queue>>,
    jobs_max: usize,
    bytes_max: usize,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    bytes: usize,
}

/// What became of an append.
pub(crate) enum Pushed {
    /// It is the group's only one: it is to be handled, and [`AppendQueues::next`] asked afterwards.
    First(Job),
    /// It waits for those before it.
    Waits,
    /// Too much waits already.
    Full(Job),
}

impl AppendQueues {
    pub(crate) fn new(jobs_max: usize, bytes_max: usize) -> Self {
        Self { queues: Mutex::default(), jobs_max, bytes_max }
    }

    /// An append has arrived.
    pub(crate) fn push(&self, job: Job) -> Pushed {
        let mut queues = self.queues.lock();
        let Some(queue) = queues.get_mut(&job.group) else {
            queues.insert(job.group, Queue::default());
            return Pushed::First(job);
        };
        let bytes = queue.bytes + job.bytes;
        if queue.jobs.len() >= self.jobs_max || (bytes > self.bytes_max && !queue.jobs.is_empty()) {
            return Pushed::Full(job);
        }
        queue.bytes = bytes;
        queue.jobs.push_back(job);
        Pushed::Waits
    }

    /// The group's append has been handled: its next one.
    pub(crate) fn next(&self, group: GroupId) -> Option<Job> {
        let mut queues = self.queues.lock();
        let queue = queues.get_mut(&group)?;
        match queue.jobs.pop_front() {
            Some(job) => {
                queue.bytes -= job.bytes;
                Some(job)
            }
            None => {
                queues.remove(&group);
                None
            }
        }
    }
}
