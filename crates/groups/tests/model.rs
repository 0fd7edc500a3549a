//! Small groups through everything that can happen to them, in every order: a breadth-first search that drives the real
//! coordinator. Members answer for themselves: each knows only what it was told, by messages that may be lost, late
//! or doubled, and its own clock.
//!
//! Never, in any state: two members that own a partition at a time, in their own view; an epoch that goes back; a commit that
//! counts though the partition has had another owner since it was sent; an assignment that is not balanced within one, or
//! that takes from a member that had no more than its share; a replica that differs from its coordinator. And from every
//! sampled state: when faults end, each partition comes to be owned by one member.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests are tests too.

#[path = "support/topics.rs"]
#[allow(dead_code, reason = "scenarios use the rest")]
mod topics;

#[path = "model/checks.rs"]
mod checks;
#[path = "model/client.rs"]
mod client;
#[path = "model/search.rs"]
mod search;
#[path = "model/world.rs"]
mod world;

use search::search;
use world::{Faults, World};

/// No faults, and joins for so many members.
fn joins(members: usize) -> Faults {
    Faults { joins: members, ..Faults::default() }
}

#[test]
fn partitions_change_hands_safely_over_a_bad_network() {
    let faults = Faults { resends: 1, losses: 1, doubles: 1, ..joins(2) };
    search(World::new(2, 2, faults)).unwrap();
}

#[test]
fn sessions_end_safely_under_late_messages() {
    search(World::new(2, 2, Faults { ticks: 3, losses: 1, ..joins(2) })).unwrap();
}

#[test]
fn members_that_come_back_are_not_taken_for_what_they_were() {
    search(World::new(2, 1, Faults { ticks: 3, ..joins(3) })).unwrap();
}

#[test]
fn coordinators_follow_each_other_safely() {
    search(World::new(2, 2, Faults { failovers: 1, ticks: 2, ..joins(2) })).unwrap();
}

#[test]
fn three_members_share_three_partitions_as_they_come() {
    search(World::new(3, 3, joins(3))).unwrap();
}

#[test]
fn partitions_are_added_and_topics_created_again_while_members_read() {
    search(World::new(2, 2, Faults { topics: 2, losses: 1, ..joins(2) })).unwrap();
}

#[test]
fn commits_count_from_owners_only() {
    search(World::new(2, 2, Faults { commits: 1, leaves: 1, doubles: 1, ..joins(2) })).unwrap();
}
