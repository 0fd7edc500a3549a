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
    /// Of its node's data.
    pub(crate) incarnation: Incarnation,
    /// Of its replica, when that gave up what it was before, or came when the group had a past.
    pub(crate) replica: Option<Incarnation>,
}

impl MemberInfo {
    /// A member that is what its node is.
    pub(crate) fn of_node(incarnation: Incarnation) -> Self {
        Self { incarnation, replica: None }
    }

    /// Whom requests to the member are for.
    pub(crate) fn addressed(&self) -> Incarnation {
        self.replica.unwrap_or(self.incarnation)
    }
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
    /// The replica's own incarnation for each of `nodes`, in their order, 0 for none; or nothing at all when none has one.
    #[prost(fixed64, repeated, tag = "4")]
    replicas: Vec<u64>,
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
        replicas: match membership.nodes().any(|(_, info)| info.replica.is_some()) {
            true => membership.nodes().map(|(_, info)| info.replica.map_or(0, |replica| replica.0)).collect(),
            false => Vec::new(),
        },
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
    let replicas = match message.replicas.len() {
        0 => vec![0; nodes],
        len if len == nodes => message.replicas,
        len => return Err(io::Error::other(format!("a membership of {nodes} nodes names {len} replicas"))),
    };
    let infos = message.incarnations.into_iter().zip(replicas).map(|(incarnation, replica)| MemberInfo {
        incarnation: Incarnation(incarnation),
        replica: (replica != 0).then_some(Incarnation(replica)),
    });
    let nodes: BTreeMap<u64, MemberInfo> = message.nodes.into_iter().zip(infos).collect();
    Membership::new(configs, nodes).map_err(|error| io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_membership_survives_its_persisted_form() {
        let nodes: BTreeMap<u64, MemberInfo> =
            (1..=4).map(|node| (node, MemberInfo::of_node(Incarnation(node << 60)))).collect();
        let joint = Membership::new(vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4])], nodes).unwrap();
        assert_eq!(decode(&encode(&joint)).unwrap(), joint);
        let renewed = MemberInfo { replica: Some(Incarnation(77)), ..MemberInfo::of_node(Incarnation(2)) };
        let nodes = BTreeMap::from([(1, MemberInfo::of_node(Incarnation(1))), (2, renewed)]);
        let one_renewed = Membership::new(vec![BTreeSet::from([1, 2])], nodes).unwrap();
        assert_eq!(decode(&encode(&one_renewed)).unwrap(), one_renewed);
        assert!(decode(&[0xff, 0xff]).is_err());
        // A node without an incarnation.
        assert!(decode(&[0x12, 0x01, 0x01]).is_err());
    }
}
