//! How a group's membership is persisted.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;
use openraft::{EmptyNode, Membership};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct MembershipMessage {
    /// One configuration, or two while the group moves from the first to the second.
    #[prost(message, repeated, tag = "1")]
    configs: Vec<Voters>,
    /// Every member, voting or not.
    #[prost(uint64, repeated, tag = "2")]
    nodes: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct Voters {
    #[prost(uint64, repeated, tag = "1")]
    nodes: Vec<u64>,
}

pub(crate) fn encode(membership: &Membership<u64, EmptyNode>) -> Bytes {
    let voters = |config: &BTreeSet<u64>| Voters { nodes: config.iter().copied().collect() };
    let message = MembershipMessage {
        configs: membership.get_joint_config().iter().map(voters).collect(),
        nodes: membership.nodes().map(|(node, _)| *node).collect(),
    };
    message.encode_to_vec().into()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Membership<u64, EmptyNode>, io::Error> {
    let message = MembershipMessage::decode(bytes).map_err(io::Error::other)?;
    let configs = message.configs.into_iter().map(|voters| voters.nodes.into_iter().collect()).collect();
    let nodes: BTreeMap<u64, EmptyNode> = message.nodes.into_iter().map(|node| (node, EmptyNode {})).collect();
    Membership::new(configs, nodes).map_err(|error| io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_membership_survives_its_persisted_form() {
        let nodes: BTreeMap<u64, EmptyNode> = (1..=4).map(|node| (node, EmptyNode {})).collect();
        let joint = Membership::new(vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4])], nodes).unwrap();
        assert_eq!(decode(&encode(&joint)).unwrap(), joint);
        assert!(decode(&[0xff, 0xff]).is_err());
    }
}
