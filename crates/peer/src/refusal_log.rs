//! Says in the node's log whom it does not let in, and why: once for each node and reason, however often that node comes back.

use std::collections::BTreeMap;

use highwater_types::NodeId;
use highwater_types::limits::NODES_PER_CLUSTER_MAX;
use parking_lot::Mutex;

use crate::error::RefusalCode;
use crate::handshake::Rejected;

/// What was last said of each node.
#[derive(Default)]
pub(crate) struct RefusalLog {
    said: Mutex<BTreeMap<NodeId, RefusalCode>>,
}

impl RefusalLog {
    pub(crate) fn refused(&self, rejected: &Rejected) {
        let Rejected { who, error } = rejected;
        if let (Some(node), Some(code)) = (who, error.refusal())
            && self.is_news(*node, code)
        {
            tracing::warn!(%node, %error, "a node was refused");
        } else {
            tracing::debug!(?who, %error, "a connection was refused");
        }
    }

    pub(crate) fn admitted(&self, node: NodeId) {
        self.said.lock().remove(&node);
    }

    fn is_news(&self, node: NodeId, code: RefusalCode) -> bool {
        let mut said = self.said.lock();
        // The numbers come from strangers.
        if said.len() >= NODES_PER_CLUSTER_MAX && !said.contains_key(&node) {
            return false;
        }
        said.insert(node, code) != Some(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_news_once_until_the_node_was_admitted() {
        let log = RefusalLog::default();
        let (node, other) = (NodeId(2), NodeId(3));
        assert!(log.is_news(node, RefusalCode::OtherCluster));
        assert!(!log.is_news(node, RefusalCode::OtherCluster));
        assert!(log.is_news(other, RefusalCode::OtherCluster));
        assert!(log.is_news(node, RefusalCode::StaleIncarnation), "another reason");
        log.admitted(node);
        assert!(log.is_news(node, RefusalCode::StaleIncarnation));
    }

    #[test]
    fn strangers_cannot_fill_the_memory() {
        let log = RefusalLog::default();
        for node in 0..NODES_PER_CLUSTER_MAX as u64 {
            assert!(log.is_news(NodeId(node), RefusalCode::OtherCluster));
        }
        assert!(!log.is_news(NodeId(u64::MAX), RefusalCode::OtherCluster));
        assert!(log.is_news(NodeId(0), RefusalCode::OtherNode), "those that are known are heard");
    }
}
