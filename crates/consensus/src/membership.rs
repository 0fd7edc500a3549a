//! Who the members of a group are, and how a membership is persisted.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;
use highwater_types::Incarnation;
use openraft::Membership;
use prost::Message;

/// What a membership says of a member beside its node id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemberInfo {
    pub(crate) incarnation: Incarnation,
}

#[derive(Clone, PartialEq, Message)]
struct MembershipMessage {
    /// One configuration, or two while the group moves from the first to the second.
    #[prost(message, repeated, tag = "1")]
    configs: Vec<Voters>,
    /// Every member, voting or not.
    #[prost(uint64, repeated, tag = "2")]
    nodes: Vec<u64>,
    /// The incarnation of each of `nodes`, in their order.
    #[prost(fixed64, repeated, tag = "3")]
    incarnations: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct Voters {
    #[prost(uint64, repeated, tag = "1")]
    nodes: Vec<u64>,
}

pub(crate) fn encode(membership: &Membership<u64, MemberInfo>) -> Bytes {
    let voters = |config: &BTreeSet<u64>| Voters { nodes: config.iter().copied().collect() };
    let message = MembershipMessage {
        configs: membership.get_joint_config().iter().map(voters).collect(),
        nodes: membership.nodes().map(|(node, _)| *node).collect(),
        incarnations: membership.nodes().map(|(_, info)| info.incarnation.0).collect(),
    };
    message.encode_to_vec().into()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Membership<u64, MemberInfo>, io::Error> {
    let message = MembershipMessage::decode(bytes).map_err(io::Error::other)?;
    let (nodes, incarnations) = (message.nodes.len(), message.incarnations.len());
    if nodes != incarnations {
        return Err(io::Error::other(format!(
            "a membership of {nodes} nodes names {incarnations} incarnations"
        )));
    }
    let configs = message.configs.into_iter().map(|voters| voters.nodes.into_iter().collect()).collect();
    let infos = message
        .incarnations
        .into_iter()
        .map(|incarnation| MemberInfo { incarnation: Incarnation(incarnation) });
    let nodes: BTreeMap<u64, MemberInfo> = message.nodes.into_iter().zip(infos).collect();
    Membership::new(configs, nodes).map_err(|error| io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_membership_survives_its_persisted_form() {
        let nodes: BTreeMap<u64, MemberInfo> =
            (1..=4).map(|node| (node, MemberInfo { incarnation: Incarnation(node << 60) })).collect();
        let joint = Membership::new(vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4])], nodes).unwrap();
        assert_eq!(decode(&encode(&joint)).unwrap(), joint);
        assert!(decode(&[0xff, 0xff]).is_err());
        // A node without an incarnation.
        assert!(decode(&[0x12, 0x01, 0x01]).is_err());
    }
}
