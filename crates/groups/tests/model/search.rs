//! Every world that can be reached, nearest first.

use std::collections::{HashMap, VecDeque};

use crate::checks::{fault, never_rests};
use crate::world::{Event, World};

/// Most worlds of one search: a search that is not done by then is too large for the gate, and fails.
const WORLDS_MAX: usize = 200_000;
/// Of so many worlds one is followed to its rest.
const RESTED_OF: usize = 50;

/// Looks at every world that can be reached from this one.
pub(crate) fn search(start: World) -> Result<usize, String> {
    // Each world by its key, with how it was come to first: the shortest way.
    let mut came_by: HashMap<u64, Option<(u64, Event)>> = HashMap::from([(start.key(), None)]);
    let mut queue = VecDeque::from([start.clone()]);
    let mut looked_at = 0_usize;
    while let Some(world) = queue.pop_front() {
        let key = world.key();
        let events = world.events();
        let is_sample = events.is_empty() || looked_at.is_multiple_of(RESTED_OF);
        if let Some(fault) = is_sample.then(|| never_rests(&world)).flatten() {
            return Err(story(&start, &came_by, key, &format!("in the end: {fault}")));
        }
        looked_at += 1;
        for event in events {
            let mut next = world.clone();
            next.happen(event);
            if let Some(fault) = fault(&world, &next) {
                return Err(story(&start, &came_by, key, &format!("{event:?}: {fault}")));
            }
            if let std::collections::hash_map::Entry::Vacant(place) = came_by.entry(next.key()) {
                place.insert(Some((key, event)));
                queue.push_back(next);
            }
        }
        if came_by.len() > WORLDS_MAX {
            return Err(format!("more than {WORLDS_MAX} worlds: allow fewer faults"));
        }
    }
    println!("{looked_at} worlds");
    Ok(looked_at)
}

/// What led to a fault.
fn story(start: &World, came_by: &HashMap<u64, Option<(u64, Event)>>, at: u64, end: &str) -> String {
    let mut events = Vec::new();
    let mut key = at;
    while let Some(Some((before, event))) = came_by.get(&key) {
        events.push(*event);
        key = *before;
    }
    let mut told = String::new();
    let mut world = start.clone();
    for event in events.into_iter().rev() {
        let message = match event {
            Event::Deliver(n) | Event::Lose(n) | Event::Double(n) => format!(" {:?}", world.messages[n]),
            _ => String::new(),
        };
        told.push_str(&format!("{event:?}{message}\n"));
        world.happen(event);
    }
    let state = format!("{:#?}", world.clients);
    format!("{told}{end}\n{state}")
}
