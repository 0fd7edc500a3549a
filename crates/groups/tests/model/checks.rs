//! What must hold in every world, between a world and the next, and in the end.

use std::collections::BTreeMap;

use highwater_groups::{Group, GroupPhase};
use highwater_types::PartitionId;

use crate::world::{World, group};

/// What is wrong with a world, or with the step that led to it.
pub(crate) fn fault(before: &World, after: &World) -> Option<String> {
    if let Some(partition) = twice_owned(after) {
        return Some(format!("{partition} has two owners"));
    }
    if let Some(partition) = after.stale_commit {
        return Some(format!("a commit of {partition} counted that was sent before another owner came"));
    }
    if let Some(partition) = foreign_offset(after) {
        return Some(format!("{partition} has an offset that nobody committed"));
    }
    let (was, is) = (before.coordinator.state().group(&group())?, after.coordinator.state().group(&group())?);
    if is.epoch() < was.epoch() || is.assignment_epoch() < was.assignment_epoch() {
        return Some(format!("the group goes from epoch {} back to {}", was.epoch(), is.epoch()));
    }
    match is.assignment_epoch() > was.assignment_epoch() {
        true => unbalanced(is).or_else(|| unsticky(was, is)),
        false => None,
    }
}

fn twice_owned(world: &World) -> Option<PartitionId> {
    let mut owners: BTreeMap<PartitionId, usize> = BTreeMap::new();
    let owned = world
        .clients
        .iter()
        .enumerate()
        .flat_map(|(n, client)| client.owned().iter().map(move |p| (p, n)).collect::<Vec<_>>());
    owned.into_iter().find_map(|(partition, member)| owners.insert(partition, member).map(|_| partition))
}

fn foreign_offset(world: &World) -> Option<PartitionId> {
    let group = world.coordinator.state().group(&group())?;
    let has_offset = |partition: &PartitionId| group.offset(*partition).is_some();
    world
        .partitions()
        .into_iter()
        .find(|partition| has_offset(partition) && !world.committed.contains(partition))
}

fn unbalanced(group: &Group) -> Option<String> {
    let loads = || group.members().map(|member| member.target.len());
    let partitions: usize = group.head().topics.iter().map(|(_, known)| known.count as usize).sum();
    let (least, most) = (loads().min()?, loads().max()?);
    if most > least + 1 {
        return Some(format!("one member is to hold {most} partitions, another {least}"));
    }
    let dealt: usize = loads().sum();
    (dealt != partitions).then(|| format!("{dealt} of {partitions} partitions are dealt"))
}

/// A member keeps what it had, up to its share.
fn unsticky(was: &Group, is: &Group) -> Option<String> {
    let there: usize = is.head().topics.iter().map(|(_, known)| known.count as usize).sum();
    let share = there / is.members().len().max(1);
    let exists = |partition: &PartitionId| {
        is.head()
            .topics
            .iter()
            .any(|(_, known)| known.topic == partition.topic && partition.index.0 < known.count)
    };
    is.members().find_map(|member| {
        let before = was.member(&member.description.member)?;
        let had: Vec<_> = before.target.iter().filter(exists).collect();
        let kept = had.iter().filter(|partition| member.target.contains(**partition)).count();
        let id = &member.description.member;
        (kept < had.len().min(share))
            .then(|| format!("{id} keeps {kept} of {}, its share is {share}", had.len()))
    })
}

/// How long after the last fault everything has come to rest: a session and two hand-overs.
const ROUNDS: usize = 14;

/// What is wrong when faults end: every message arrives, members give up what they should and send heartbeats.
pub(crate) fn never_rests(world: &World) -> Option<String> {
    let mut world = world.clone();
    for _ in 0..ROUNDS {
        for member in 0..world.clients.len() {
            world.clients[member].give_up();
            if world.clients[member].membership.is_some() {
                world.ask(member);
            }
        }
        while !world.messages.is_empty() {
            let before = world.clone();
            let message = world.messages.remove(0);
            world.deliver(&message);
            world.note_owners();
            if let Some(fault) = fault(&before, &world) {
                return Some(fault);
            }
        }
        world.tick();
    }
    unrest(&world)
}

fn unrest(world: &World) -> Option<String> {
    let inside = world.clients.iter().filter(|client| client.is_member()).count();
    let state = world.coordinator.state().group(&group());
    let members = state.map_or(0, |group| group.members().len());
    if members != inside {
        return Some(format!("{inside} members are in the group, the coordinator has {members}"));
    }
    if inside == 0 {
        return None;
    }
    let is_owned =
        |partition: &PartitionId| world.clients.iter().any(|client| client.processes.contains(partition));
    if let Some(partition) = world.partitions().into_iter().find(|partition| !is_owned(partition)) {
        return Some(format!("{partition} never comes to be owned"));
    }
    let phase = state.map(Group::phase);
    (phase != Some(GroupPhase::Stable)).then(|| format!("the group stays {phase:?}"))
}
