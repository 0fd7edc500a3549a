//! Deleting the records below given offsets, at the leaders of the partitions.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use highwater_broker::{Broker, BrokerError, DeleteRecords, LeaderHint};
use highwater_proto::v1;
use highwater_types::{ErrorCode, PartitionIndex, limits};

use super::convert;
use super::forward::{
    Caller, Effect, Forwarding, Origin, Share, answered, divide, incomplete, merge, with_grace,
};
use super::status::detail;

/// Deletes in each partition of the request, here or at its leader.
pub(crate) async fn delete_records(
    broker: &Broker,
    forwarding: &Forwarding,
    origin: Origin,
    request: v1::DeleteRecordsRequest,
) -> Result<v1::DeleteRecordsResponse, BrokerError> {
    let asked = &request.partitions;
    let distinct: HashSet<u32> = asked.iter().map(|asked| asked.partition).collect();
    let target = |asked: &v1::DeleteRecordsPartition| {
        Forwarding::target(broker, origin, &request.topic, asked.partition)
    };
    let is_sound = distinct.len() == asked.len() && asked.len() <= limits::PARTITIONS_PER_REQUEST_MAX;
    let is_parsed = asked.iter().all(|asked| parse(*asked).is_ok());
    // What is wrong with the request is said before anything is deleted anywhere.
    if !is_sound || !is_parsed || asked.iter().all(|asked| target(asked).is_none()) {
        return here(broker, request).await;
    }
    let parts = divide(asked.iter().map(target)).into_iter().map(|Share { leader, places }| {
        let partitions = places.iter().map(|&place| asked[place]).collect();
        let part = v1::DeleteRecordsRequest { partitions, ..request.clone() };
        async move {
            let deleted = match &leader {
                None => here(broker, part).await,
                Some(leader) => there(forwarding, leader, part).await,
            };
            let results = match deleted {
                Ok(deleted) => deleted.results,
                Err(error) => {
                    places.iter().map(|&place| failed(asked[place].partition, error.clone())).collect()
                }
            };
            (places, results)
        }
    });
    let parts = join_all(parts).await;
    let unknown = || BrokerError::new(ErrorCode::Timeout, incomplete().message);
    let results = merge(asked.len(), parts, |place| failed(asked[place].partition, unknown()));
    Ok(v1::DeleteRecordsResponse { results })
}

async fn here(
    broker: &Broker,
    request: v1::DeleteRecordsRequest,
) -> Result<v1::DeleteRecordsResponse, BrokerError> {
    let topic = convert::topic_ref(request.topic, &request.topic_id)?;
    let deletes = request.partitions.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let outcomes = broker.delete_records(&topic, &deletes).await?;
    let results = deletes.iter().zip(outcomes).map(|(delete, outcome)| {
        use v1::delete_records_result::Result as Outcome;
        let result = match outcome {
            Ok(log_start) => Outcome::LogStartOffset(log_start.0),
            Err(error) => Outcome::Error(detail(error)),
        };
        v1::DeleteRecordsResult { partition: delete.partition.0, result: Some(result) }
    });
    Ok(v1::DeleteRecordsResponse { results: results.collect() })
}

async fn there(
    forwarding: &Forwarding,
    leader: &LeaderHint,
    request: v1::DeleteRecordsRequest,
) -> Result<v1::DeleteRecordsResponse, BrokerError> {
    let Caller { mut client, slot: _slot } = forwarding.admin(leader)?;
    let call = client.delete_records(forwarding.request(request));
    let deadline = with_grace(Duration::from_millis(limits::ADMIN_TIMEOUT_MS));
    answered(leader, Effect::Change, deadline, call).await
}

fn failed(partition: u32, error: BrokerError) -> v1::DeleteRecordsResult {
    let error = detail(error.with_partition(PartitionIndex(partition)));
    v1::DeleteRecordsResult { partition, result: Some(v1::delete_records_result::Result::Error(error)) }
}

/// Offset −1 stands for the high watermark.
fn parse(partition: v1::DeleteRecordsPartition) -> Result<DeleteRecords, BrokerError> {
    let before = match partition.before_offset {
        -1 => None,
        offset => Some(convert::offset(offset)?),
    };
    Ok(DeleteRecords { partition: PartitionIndex(partition.partition), before })
}
