//! Keeps a batch from entering the log when one that was proposed before it did not.
//!
//! A leader refuses proposals for a moment, in its core or before, when it lacks a lease or hands its leadership over, and goes
//! on. Of two batches proposed one behind the other the first may be refused so and the second taken; but the second was checked
//! as the successor of the first. So batches carry **tickets**: a run, and consecutive numbers in it. The log takes a batch only
//! with the number after the last it took; of any other it makes a blank entry, and the proposer is told ([`Response::Overtaking`]).
//! A run ends when the proposer learns that one of its batches failed, and the next begins at 0.
//!
//! [`Response::Overtaking`]: crate::type_config::Response::Overtaking

use parking_lot::Mutex;

/// A batch's place among those of its proposer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    run: u64,
    number: u64,
}

/// The runs of one group: what was proposed, and what reached the log.
#[derive(Default)]
pub(crate) struct ProposalRuns {
    /// What the next proposal gets.
    proposed: Mutex<Next>,
    /// What the log takes next.
    logged: Mutex<Next>,
}

#[derive(Default)]
struct Next {
    run: u64,
    number: u64,
}

impl ProposalRuns {
    /// The ticket of the next proposal.
    pub(crate) fn next(&self) -> Ticket {
        let mut next = self.proposed.lock();
        let ticket = Ticket { run: next.run, number: next.number };
        next.number += 1;
        ticket
    }

    /// The proposer learnt that this one failed: what it proposes from now on stands for itself.
    pub(crate) fn failed(&self, ticket: Ticket) {
        let mut next = self.proposed.lock();
        if next.run == ticket.run {
            *next = Next { run: ticket.run + 1, number: 0 };
        }
    }

    /// Whether the log takes the batch with this ticket now.
    pub(crate) fn admit(&self, ticket: Ticket) -> bool {
        let mut next = self.logged.lock();
        let begins = ticket.run > next.run && ticket.number == 0;
        let continues = ticket.run == next.run && ticket.number == next.number;
        if begins || continues {
            *next = Next { run: ticket.run, number: ticket.number + 1 };
        }
        begins || continues
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_a_batch_that_did_not_arrive_is_not_taken_until_the_proposer_knows() {
        let runs = ProposalRuns::default();
        let tickets: Vec<Ticket> = (0..5).map(|_| runs.next()).collect();
        assert!(runs.admit(tickets[0]));
        // The second was refused by the core.
        assert!(!runs.admit(tickets[2]));
        assert!(!runs.admit(tickets[3]));
        runs.failed(tickets[1]);
        let next = runs.next();
        // The last of the old run comes late.
        assert!(!runs.admit(tickets[4]));
        assert!(runs.admit(next));
        // To learn of the others' failure changes nothing any more.
        runs.failed(tickets[2]);
        assert!(runs.admit(runs.next()));
    }
}
