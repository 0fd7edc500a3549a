//! What records say of members.

use std::collections::BTreeMap;
use std::time::Duration;

use highwater_types::{PartitionId, PartitionIndex};

use super::{Reader, wire, write_topic_id};
use crate::assignor::Assignor;
use crate::current::{CurrentAssignment, MemberState};
use crate::error::GroupsError;
use crate::ids::{Epoch, InstanceId, MemberId, Revision};
use crate::record::MemberDescription;
use crate::subscription::Subscription;

pub(super) fn write_description(description: &MemberDescription) -> wire::Member {
    let assignor = match description.assignor {
        None => wire::Assignor::Unspecified,
        Some(Assignor::Uniform) => wire::Assignor::Uniform,
        Some(Assignor::Range) => wire::Assignor::Range,
    };
    wire::Member {
        member: description.member.as_str().to_owned(),
        instance: description.instance.as_ref().map(|instance| instance.as_str().to_owned()),
        client_id: description.client_id.clone(),
        client_host: description.client_host.clone(),
        topics: description.subscription.names().map(|name| name.as_str().to_owned()).collect(),
        assignor: assignor.into(),
        rebalance_timeout_ms: u64::try_from(description.rebalance_timeout.as_millis()).unwrap_or(u64::MAX),
    }
}

pub(super) fn read_description(reader: Reader, member: wire::Member) -> Result<MemberDescription, GroupsError> {
    let names: Vec<_> = member.topics.iter().map(|name| reader.topic_name(name)).collect::<Result<_, _>>()?;
    let malformed = |error: GroupsError| reader.malformed(error.to_string());
    let instance = member.instance.as_deref().map(InstanceId::new).transpose().map_err(malformed)?;
    Ok(MemberDescription {
        member: reader.member(&member.member)?,
        instance,
        subscription: Subscription::new(names).map_err(malformed)?,
        assignor: match member.assignor() {
            wire::Assignor::Unspecified => None,
            wire::Assignor::Uniform => Some(Assignor::Uniform),
            wire::Assignor::Range => Some(Assignor::Range),
        },
        client_id: member.client_id,
        client_host: member.client_host,
        rebalance_timeout: Duration::from_millis(member.rebalance_timeout_ms),
    })
}

pub(super) fn write_current(member: &MemberId, current: &CurrentAssignment) -> wire::Current {
    let state = match current.state {
        MemberState::Stable => wire::State::Stable,
        MemberState::Unrevoked => wire::State::Unrevoked,
        MemberState::Unreleased => wire::State::Unreleased,
        MemberState::Away => wire::State::Away,
    };
    wire::Current {
        member: member.as_str().to_owned(),
        epoch: current.epoch.0,
        stated_epoch: current.stated_epoch.0,
        revision: current.revision.0,
        state: state.into(),
        held: write_held(&current.held),
        revoking: write_held(&current.revoking),
    }
}

pub(super) fn read_current(reader: Reader, current: &wire::Current) -> Result<CurrentAssignment, GroupsError> {
    let state = match current.state() {
        wire::State::Stable => MemberState::Stable,
        wire::State::Unrevoked => MemberState::Unrevoked,
        wire::State::Unreleased => MemberState::Unreleased,
        wire::State::Away => MemberState::Away,
        wire::State::Unspecified => {
            return Err(reader.malformed("a member is in a state that this build does not know"));
        }
    };
    Ok(CurrentAssignment {
        epoch: Epoch(current.epoch),
        stated_epoch: Epoch(current.stated_epoch),
        revision: Revision(current.revision),
        state,
        held: read_held(reader, &current.held)?,
        revoking: read_held(reader, &current.revoking)?,
    })
}

fn write_held(held: &BTreeMap<PartitionId, Epoch>) -> Vec<wire::TopicHeld> {
    let mut topics: Vec<wire::TopicHeld> = Vec::new();
    let mut last = None;
    for (partition, since) in held {
        if last != Some(partition.topic) {
            last = Some(partition.topic);
            let topic = write_topic_id(partition.topic);
            topics.push(wire::TopicHeld { topic, indexes: Vec::new(), since: Vec::new() });
        }
        if let Some(topic) = topics.last_mut() {
            topic.indexes.push(partition.index.0);
            topic.since.push(since.0);
        }
    }
    topics
}

fn read_held(reader: Reader, topics: &[wire::TopicHeld]) -> Result<BTreeMap<PartitionId, Epoch>, GroupsError> {
    let mut held = BTreeMap::new();
    for topic in topics {
        if topic.indexes.len() != topic.since.len() {
            let (indexes, epochs) = (topic.indexes.len(), topic.since.len());
            return Err(reader.malformed(format!("{indexes} partitions are held since {epochs} epochs")));
        }
        let id = reader.topic(&topic.topic)?;
        for (index, since) in topic.indexes.iter().zip(&topic.since) {
            held.insert(PartitionId { topic: id, index: PartitionIndex(*index) }, Epoch(*since));
        }
    }
    Ok(held)
}
