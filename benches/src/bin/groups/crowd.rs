//! A thousand members of a thousand partitions: how long they take to settle, and what the death of their coordinator costs them.

use std::sync::Arc;
use std::time::Duration;

use highwater_benches::{BenchError, LocalCluster, Place, create_topic};
use highwater_client::{Client, GroupState, OffsetCommit, TopicPartition};
use highwater_types::{Offset, PartitionIndex};
use tokio::time::{Instant, sleep};

use crate::member::{Seen, join};

const TOPIC: &str = "crowd";
const GROUP: &str = "crowd";
const NODES: usize = 3;
/// Members that share a client, as a program with several consumers would have it.
const MEMBERS_PER_CLIENT: u32 = 50;
const PATIENCE: Duration = Duration::from_secs(120);
/// How long members are watched after their coordinator's death.
const WATCHED: Duration = Duration::from_secs(20);

/// See the module.
#[expect(clippy::print_stdout, reason = "its output is what it is for")]
pub(crate) async fn measure(place: &Place, crowd: u32) -> Result<(), BenchError> {
    let mut cluster = LocalCluster::start(place, NODES)?;
    let client = Client::connect(cluster.servers())?;
    create_topic(&client, TOPIC, crowd, NODES).await?;
    // The shards are there: it is the group that is measured.
    client.admin().commit_offsets("first", &[at(0)]).await?;
    let seen = Arc::new(Seen::default());
    let began = Instant::now();
    let mut members = Vec::new();
    for number in 0..crowd {
        if number % MEMBERS_PER_CLIENT == 0 {
            members.push((Client::connect(cluster.servers())?, Vec::new()));
        }
        if let Some((client, members)) = members.last_mut() {
            members.push(join(client, (GROUP, TOPIC), number as usize, &seen)?);
        }
    }
    let stable = until_stable(&client, crowd).await?;
    println!("{crowd} members join a group of {crowd} partitions: stable after {:.1?}", stable - began);
    while seen.owned() < crowd as usize {
        sleep(Duration::from_millis(10)).await;
    }
    println!("  every member was told                                  {:.1?}", began.elapsed());

    let described = client.admin().describe_group(GROUP, false).await?;
    let coordinator = usize::try_from(described.coordinator.0).unwrap_or(1);
    let (committer, own) = members
        .iter()
        .flat_map(|(_, members)| members)
        .find_map(|member| Some((member.committer(), member.assignment().into_iter().next()?)))
        .ok_or(BenchError::Gone)?;
    let taken = seen.taken();
    cluster.kill(coordinator)?;
    let killed = Instant::now();
    let mut attempts = 0;
    loop {
        attempts += 1;
        let commit = OffsetCommit::new(own.clone(), Offset::ZERO);
        match committer.commit(&[commit]).await {
            Ok(()) => break,
            Err(error) if error.is_retriable() && killed.elapsed() < PATIENCE => {}
            Err(error) => return Err(error.into()),
        }
    }
    println!("  first commit after the coordinator's death ({attempts} attempts)   {:.1?}", killed.elapsed());
    sleep(WATCHED).await;
    println!("  partitions taken from members within {WATCHED:?} of that   {}", seen.taken() - taken);
    Ok(())
}

fn at(partition: u32) -> OffsetCommit {
    OffsetCommit::new(TopicPartition::new(TOPIC, PartitionIndex(partition)), Offset::ZERO)
}

async fn until_stable(client: &Client, crowd: u32) -> Result<Instant, BenchError> {
    let began = Instant::now();
    loop {
        let listed = client.admin().list_groups(GROUP).await?;
        let is_stable = |group: &highwater_client::GroupSummary| {
            group.members == crowd && group.state == GroupState::Stable
        };
        if listed.groups.iter().any(is_stable) {
            return Ok(Instant::now());
        }
        if began.elapsed() > PATIENCE {
            return Err(BenchError::NotDone {
                what: format!("a group of {crowd}"),
                seconds: PATIENCE.as_secs(),
                waits_for: format!("{:?}", listed.groups),
            });
        }
        sleep(Duration::from_millis(20)).await;
    }
}
