//! A group whose majority is lost for good goes on from one replica, whose log is told so while its node does not run.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use highwater_consensus::{make_sole_voter, standing};
use highwater_storage::Store;
use highwater_types::{NodeId, SystemRandom};
use support::cluster::{Cluster, group_id};
use support::{expected, options, small_journal};

const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

#[tokio::test]
async fn the_survivor_of_three_has_all_that_was_acked_while_it_was_needed_and_takes_more() {
    for seed in 61..65 {
        let cluster = Cluster::new(seed);
        cluster.start_all(&NODES).await;
        let first = cluster.leader().await;
        for value in 0..30 {
            cluster.produce(first, value).await.unwrap();
        }
        // Of the two that are left each is needed for every ack.
        let survivor = NODES.into_iter().find(|node| *node != first).unwrap();
        let third = NODES.into_iter().find(|node| ![first, survivor].contains(node)).unwrap();
        cluster.kill(third);
        for value in 30..60 {
            cluster.produce(first, value).await.unwrap();
        }
        cluster.kill(first);
        cluster.kill(survivor);

        let disk = Arc::new(cluster.disk(survivor).for_process());
        let store = Store::open(disk, &options(small_journal()), &SystemRandom).unwrap();
        let log = store.group(group_id()).unwrap();
        let before = standing(&log).unwrap();
        let members: BTreeSet<NodeId> = before.voters.iter().map(|voter| voter.node).collect();
        assert_eq!(members, NODES.into(), "seed {seed}");
        // As if the command was typed again.
        for _ in 0..2 {
            make_sole_voter(&log, cluster.member(survivor), Vec::new()).await.unwrap();
        }
        let after = standing(&log).unwrap();
        assert_eq!(after.voters, [cluster.member(survivor)].into(), "seed {seed}");
        assert!(after.term > before.term && after.last > before.last, "seed {seed}: {after:?}");
        store.close().await.unwrap();
        drop((log, store));

        cluster.start(survivor).await;
        assert_eq!(cluster.leader().await, survivor, "seed {seed}");
        for value in 60..70 {
            cluster.produce(survivor, value).await.unwrap();
        }
        assert_eq!(cluster.values(survivor), expected(0..70), "seed {seed}");
    }
}
