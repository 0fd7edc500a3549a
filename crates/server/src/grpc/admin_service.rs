//! Topics, the cluster and its nodes.

use std::sync::Arc;

use highwater_broker::{
    AddPartitions, AddedPartitions, AlterTopic, Broker, BrokerError, CreateTopic, ListTopics,
    PartitionDescription, TopicDescription, TopicSummary,
};
use highwater_proto::v1;
use highwater_proto::v1::admin_service_server::AdminService;
use highwater_types::topic_config::{ConfigEntry, ConfigSource};
use highwater_types::{NodeId, TopicConfig, limits};
use tonic::{Request, Response, Status};

use super::convert;
use super::delete_records::delete_records;
use super::forward::{Forwarding, Origin};
use super::leader_offsets;
use super::node_admin;
use super::replica::replica;
use super::status::{detail, status};

/// The service over a broker.
pub(crate) struct Admin {
    pub(crate) broker: Arc<Broker>,
    pub(crate) forwarding: Forwarding,
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn create_topic(
        &self,
        request: Request<v1::CreateTopicRequest>,
    ) -> Result<Response<v1::CreateTopicResponse>, Status> {
        let wait_max = convert::wait_max(request.metadata());
        let request = request.into_inner();
        let create = CreateTopic {
            name: request.name,
            partitions: Some(request.partitions).filter(|&partitions| partitions != 0),
            replication_factor: Some(request.replication_factor).filter(|&replicas| replicas != 0),
            configs: request.configs.into_iter().collect(),
            validate_only: request.validate_only,
            wait_max,
        };
        let created = self.broker.create_topic(create).await.map_err(status)?;
        Ok(Response::new(v1::CreateTopicResponse {
            topic_id: created.id.map(|id| id.to_string()).unwrap_or_default(),
            partitions: created.partitions,
            replication_factor: created.replication_factor,
            metadata_version: created.metadata_version,
            partitions_pending: created.pending,
        }))
    }

    async fn list_topics(
        &self,
        request: Request<v1::ListTopicsRequest>,
    ) -> Result<Response<v1::ListTopicsResponse>, Status> {
        let request = request.into_inner();
        self.broker.wait_for_metadata(request.min_metadata_version).await.map_err(status)?;
        let limit = convert::bytes_or(request.page_size, limits::TOPICS_PER_PAGE_MAX);
        let listed = self.broker.list_topics(&ListTopics {
            name_prefix: request.name_prefix,
            include_internal: request.include_internal,
            after: Some(request.page_token).filter(|token| !token.is_empty()),
            limit: limit.min(limits::TOPICS_PER_PAGE_MAX),
        });
        let last = listed.topics.last().filter(|_| listed.more);
        let next_page_token = last.map(|topic| topic.name.clone()).unwrap_or_default();
        let metadata_version = listed.metadata_version;
        let topics = listed.topics.into_iter().map(summary).collect();
        Ok(Response::new(v1::ListTopicsResponse { topics, next_page_token, metadata_version }))
    }

    async fn describe_topics(
        &self,
        request: Request<v1::DescribeTopicsRequest>,
    ) -> Result<Response<v1::DescribeTopicsResponse>, Status> {
        let origin = Origin::of(&request);
        let request = request.into_inner();
        let asked = request.names.len();
        if asked == 0 || asked > limits::TOPICS_PER_PAGE_MAX {
            let max = limits::TOPICS_PER_PAGE_MAX;
            let message = format!("{asked} names were given; 1 to {max} are possible");
            return Err(status(BrokerError::invalid_request(message)));
        }
        self.broker.wait_for_metadata(request.min_metadata_version).await.map_err(status)?;
        let metadata_version = self.broker.metadata_version();
        let results = request.names.into_iter().map(|name| {
            use v1::describe_topics_result::Result as Outcome;
            let result = match self.broker.describe_topic(&name, request.include_offsets) {
                Ok(topic) => Outcome::Topic(description(topic)),
                Err(error) => Outcome::Error(detail(error)),
            };
            v1::DescribeTopicsResult { name, result: Some(result) }
        });
        let mut results: Vec<_> = results.collect();
        if origin == Origin::Client && request.include_offsets {
            leader_offsets::fill(&self.broker, &self.forwarding, &mut results).await;
        }
        Ok(Response::new(v1::DescribeTopicsResponse { results, metadata_version }))
    }

    async fn alter_topic_configs(
        &self,
        request: Request<v1::AlterTopicConfigsRequest>,
    ) -> Result<Response<v1::AlterTopicConfigsResponse>, Status> {
        let request = request.into_inner();
        let alter = AlterTopic {
            topic: convert::topic_ref(request.topic, &request.topic_id).map_err(status)?,
            set: request.set.into_iter().collect(),
            reset: request.reset,
            validate_only: request.validate_only,
        };
        let metadata_version = self.broker.alter_topic(alter).await.map_err(status)?;
        Ok(Response::new(v1::AlterTopicConfigsResponse { metadata_version }))
    }

    async fn add_partitions(
        &self,
        request: Request<v1::AddPartitionsRequest>,
    ) -> Result<Response<v1::AddPartitionsResponse>, Status> {
        let wait_max = convert::wait_max(request.metadata());
        let request = request.into_inner();
        let add = AddPartitions {
            topic: convert::topic_ref(request.topic, &request.topic_id).map_err(status)?,
            total: request.total_partitions,
            validate_only: request.validate_only,
            wait_max,
        };
        let AddedPartitions { metadata_version, pending } =
            self.broker.add_partitions(add).await.map_err(status)?;
        Ok(Response::new(v1::AddPartitionsResponse { metadata_version, partitions_pending: pending }))
    }

    async fn delete_topic(
        &self,
        request: Request<v1::DeleteTopicRequest>,
    ) -> Result<Response<v1::DeleteTopicResponse>, Status> {
        let request = request.into_inner();
        let topic = convert::topic_ref(request.topic, &request.topic_id).map_err(status)?;
        let metadata_version = self.broker.delete_topic(&topic).await.map_err(status)?;
        Ok(Response::new(v1::DeleteTopicResponse { metadata_version }))
    }

    async fn delete_records(
        &self,
        request: Request<v1::DeleteRecordsRequest>,
    ) -> Result<Response<v1::DeleteRecordsResponse>, Status> {
        let origin = Origin::of(&request);
        let deleted = delete_records(&self.broker, &self.forwarding, origin, request.into_inner()).await;
        deleted.map(Response::new).map_err(status)
    }

    async fn describe_cluster(
        &self,
        request: Request<v1::DescribeClusterRequest>,
    ) -> Result<Response<v1::DescribeClusterResponse>, Status> {
        let version = request.into_inner().min_metadata_version;
        self.broker.wait_for_metadata(version).await.map_err(status)?;
        let cluster = self.broker.describe_cluster().map_err(status)?;
        let nodes = cluster.nodes.into_iter();
        let recoveries = cluster.recoveries.into_iter().map(|recovery| v1::ClusterRecovery {
            cluster_id_before: recovery.was.to_string(),
            node_id: recovery.node.0,
            at_ms: recovery.at.0,
        });
        Ok(Response::new(v1::DescribeClusterResponse {
            cluster_id: cluster.cluster_id.to_string(),
            nodes: nodes.map(|(node, address)| v1::NodeDescription { node_id: node.0, address }).collect(),
            controller_node_id: cluster.controller.map(|node| node.0),
            metadata_version: cluster.metadata_version,
            answering_node_id: cluster.answering_node.0,
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            recoveries: recoveries.collect(),
        }))
    }

    async fn get_cluster_status(
        &self,
        request: Request<v1::GetClusterStatusRequest>,
    ) -> Result<Response<v1::GetClusterStatusResponse>, Status> {
        let version = request.into_inner().min_metadata_version;
        self.broker.wait_for_metadata(version).await.map_err(status)?;
        let told = self.broker.cluster_status().await.map_err(status)?;
        Ok(Response::new(node_admin::cluster_status(told)))
    }

    async fn describe_node(
        &self,
        request: Request<v1::DescribeNodeRequest>,
    ) -> Result<Response<v1::DescribeNodeResponse>, Status> {
        let request = request.into_inner();
        self.broker.wait_for_metadata(request.min_metadata_version).await.map_err(status)?;
        let described = self.broker.describe_node(NodeId(request.node_id)).await.map_err(status)?;
        Ok(Response::new(node_admin::node_description(described)))
    }

    async fn set_node_mode(
        &self,
        request: Request<v1::SetNodeModeRequest>,
    ) -> Result<Response<v1::SetNodeModeResponse>, Status> {
        let request = request.into_inner();
        let mode = node_admin::wanted_mode(request.mode()).map_err(status)?;
        let set = self.broker.set_node_mode(NodeId(request.node_id), mode).await;
        let metadata_version = set.map_err(status)?;
        Ok(Response::new(v1::SetNodeModeResponse { metadata_version }))
    }

    async fn remove_node(
        &self,
        request: Request<v1::RemoveNodeRequest>,
    ) -> Result<Response<v1::RemoveNodeResponse>, Status> {
        let removal = node_admin::removal(&request.into_inner()).map_err(status)?;
        let metadata_version = self.broker.remove_node(removal).await.map_err(status)?;
        Ok(Response::new(v1::RemoveNodeResponse { metadata_version }))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        let request = request.into_inner();
        let partition = node_admin::partition_ref(request.topic, &request.topic_id, request.partition);
        let partition = partition.map_err(status)?;
        let led = self.broker.transfer_leader(&partition, NodeId(request.to_node_id)).await;
        let metadata_version = led.map_err(status)?;
        Ok(Response::new(v1::TransferLeaderResponse { metadata_version }))
    }

    async fn plan_reassignment(
        &self,
        request: Request<v1::PlanReassignmentRequest>,
    ) -> Result<Response<v1::PlanReassignmentResponse>, Status> {
        let request = request.into_inner();
        self.broker.wait_for_metadata(request.min_metadata_version).await.map_err(status)?;
        let goal = node_admin::goal(request).map_err(status)?;
        let planned = self.broker.plan_reassignment(goal).await.map_err(status)?;
        Ok(Response::new(node_admin::planned(planned)))
    }

    async fn apply_reassignment(
        &self,
        request: Request<v1::ApplyReassignmentRequest>,
    ) -> Result<Response<v1::ApplyReassignmentResponse>, Status> {
        let request = request.into_inner();
        let plan = node_admin::plan(request.plan).map_err(status)?;
        let applied = self.broker.apply_reassignment(plan, request.validate_only).await;
        let metadata_version = applied.map_err(status)?;
        Ok(Response::new(v1::ApplyReassignmentResponse { metadata_version }))
    }

    async fn list_reassignments(
        &self,
        request: Request<v1::ListReassignmentsRequest>,
    ) -> Result<Response<v1::ListReassignmentsResponse>, Status> {
        let version = request.into_inner().min_metadata_version;
        self.broker.wait_for_metadata(version).await.map_err(status)?;
        let (moving, metadata_version) = self.broker.list_reassignments().await;
        let reassignments = moving.into_iter().map(node_admin::reassignment).collect();
        Ok(Response::new(v1::ListReassignmentsResponse { reassignments, metadata_version }))
    }

    async fn cancel_reassignments(
        &self,
        request: Request<v1::CancelReassignmentsRequest>,
    ) -> Result<Response<v1::CancelReassignmentsResponse>, Status> {
        let selection = node_admin::selection(request.into_inner()).map_err(status)?;
        let turned = self.broker.cancel_reassignments(selection).await;
        let (metadata_version, turned) = turned.map_err(status)?;
        let cancelled = turned.into_iter().map(node_admin::selected).collect();
        Ok(Response::new(v1::CancelReassignmentsResponse { metadata_version, cancelled }))
    }
}

fn summary(topic: TopicSummary) -> v1::TopicSummary {
    v1::TopicSummary {
        name: topic.name,
        topic_id: topic.id.to_string(),
        partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        internal: topic.internal,
    }
}

fn description(topic: TopicDescription) -> v1::TopicDescription {
    v1::TopicDescription {
        name: topic.summary.name,
        topic_id: topic.summary.id.to_string(),
        replication_factor: topic.summary.replication_factor,
        internal: topic.summary.internal,
        partitions: topic.partitions.into_iter().map(partition).collect(),
        configs: TopicConfig::describe(&topic.configs).into_iter().map(config).collect(),
    }
}

fn partition(partition: PartitionDescription) -> v1::PartitionDescription {
    let (offsets, error) = match partition.offsets {
        None => (None, None),
        Some(Err(error)) => (None, Some(detail(error))),
        Some(Ok(offsets)) => {
            let offsets = v1::PartitionOffsets {
                log_start_offset: offsets.log_start.0,
                high_watermark: offsets.high_watermark.0,
                size_bytes: offsets.size_bytes,
            };
            (Some(offsets), None)
        }
    };
    v1::PartitionDescription {
        partition: partition.partition.0,
        leader_node_id: partition.leader.map(|node| node.0),
        leader_epoch: partition.leader_epoch,
        replica_node_ids: partition.replicas.into_iter().map(|node| node.0).collect(),
        replicas: partition.states.iter().map(replica).collect(),
        leaving_node_ids: partition.leaving.into_iter().map(|node| node.0).collect(),
        offsets,
        error,
    }
}

fn config(entry: ConfigEntry) -> v1::ConfigEntry {
    let source = match entry.source {
        ConfigSource::Default => v1::ConfigSource::Default,
        ConfigSource::Topic => v1::ConfigSource::Topic,
    };
    v1::ConfigEntry { name: entry.setting.name.to_owned(), value: entry.value, source: source.into() }
}
