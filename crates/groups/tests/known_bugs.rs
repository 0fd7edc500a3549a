//! The model check notices each known bug of groups. One test after the other, since a bug is switched on for the
//! whole process: `cargo test -p highwater-groups --features mutants --test known_bugs`.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests are tests too.
#![cfg(feature = "mutants")]

#[path = "support/topics.rs"]
#[allow(dead_code, reason = "scenarios use the rest")]
mod topics;

#[allow(dead_code, reason = "scenarios use the rest")]
mod support;

#[path = "model/checks.rs"]
mod checks;
#[path = "model/client.rs"]
mod client;
#[path = "model/search.rs"]
mod search;
#[path = "model/world.rs"]
mod world;

use highwater_types::mutant::{Mutant, activate};
use search::search;
use support::script::play;
use world::{Faults, World};

#[test]
fn each_known_bug_is_found() {
    let none = Faults { joins: 2, ..Faults::default() };
    let bugs = [
        (Mutant::GiveBeforeRevoke, none),
        (Mutant::CommitUnfenced, Faults { commits: 1, ..none }),
        (Mutant::OffsetsOfPredecessor, Faults { commits: 1, topics: 1, joins: 1, ..none }),
        (Mutant::TimeFromHearing, Faults { ticks: 3, losses: 1, ..none }),
    ];
    for (bug, faults) in bugs {
        activate(bug);
        let found = search(World::new(2, 2, faults));
        println!("{bug:?}: {}", found.as_ref().err().map_or("not found", String::as_str));
        assert!(found.is_err(), "{bug:?} is not noticed");
    }
    // What no state is wrong of by itself, a scenario shows.
    activate(Mutant::StickinessForgotten);
    let scenario = include_str!("scenarios/25-sticky-across-a-failover.txt");
    assert_ne!(play(scenario), scenario, "StickinessForgotten is not noticed");
}
