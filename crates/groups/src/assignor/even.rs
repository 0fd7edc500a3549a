//! Uniform, when all members read the same topics: quotas, in a few passes over members and partitions.
//!
//! With `p` partitions and `m` members everybody gets `p / m`, and `p % m` members one more: those that had
//! more before. A member keeps what it had up to its quota. What is free goes back to who still has it, if that
//! one is below its quota, and then in turn to those that lack most of theirs.

use std::collections::VecDeque;

use super::roster::{Number, Roster};

/// The partitions of each candidate.
pub(super) fn assign(roster: &Roster<'_>) -> Vec<Vec<Number>> {
    let members = roster.candidates().len();
    if members == 0 {
        return Vec::new();
    }
    let quota = roster.count() / members;
    let mut extras = roster.count() % members;
    let keepers = roster.keepers();
    let mut dealt = roster.kept();
    for (member, numbers) in dealt.iter_mut().enumerate() {
        // What it does not hold yet is given up first: nobody has to stop for that.
        numbers.sort_by_key(|number| (keepers[*number as usize] != Some(member), *number));
        let may_have = quota + usize::from(numbers.len() > quota && extras > 0);
        extras -= may_have - quota;
        numbers.truncate(may_have);
    }
    let mut free = free(roster, &dealt);
    free.retain(|number| match keepers[*number as usize] {
        Some(keeper) if dealt[keeper].len() < quota => {
            dealt[keeper].push(*number);
            false
        }
        _ => true,
    });
    deal(&mut dealt, free, quota);
    dealt
}

/// The partitions that are nobody's.
fn free(roster: &Roster<'_>, dealt: &[Vec<Number>]) -> Vec<Number> {
    let mut is_free = vec![true; roster.count()];
    dealt.iter().flatten().for_each(|number| is_free[*number as usize] = false);
    (0..).zip(is_free).filter(|(_, is_free)| *is_free).map(|(number, _)| number).collect()
}

/// Deals what is free in turn to those below the quota, so that a topic's partitions go to many, and the rest
/// one by one to those that have just the quota.
fn deal(dealt: &mut [Vec<Number>], free: Vec<Number>, quota: usize) {
    let below = |dealt: &[Vec<Number>], quota| {
        (0..dealt.len()).filter(|member| dealt[*member].len() < quota).collect::<VecDeque<_>>()
    };
    let mut waiting = below(dealt, quota);
    let mut is_last_turn = false;
    for number in free {
        if waiting.is_empty() && !is_last_turn {
            waiting = below(dealt, quota + 1);
            is_last_turn = true;
        }
        let Some(member) = waiting.pop_front() else { break };
        dealt[member].push(number);
        if dealt[member].len() < quota {
            waiting.push_back(member);
        }
    }
}
