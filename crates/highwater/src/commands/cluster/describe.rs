//! `highwater cluster describe`: the cluster's id, its nodes and who leads it.

use highwater_client::Client;
use serde_json::json;

use crate::cli::OutputFormat;
use crate::error::CliError;
use crate::output::{Table, print_json, print_text};

/// Describes the cluster.
pub(super) async fn run(client: &Client, format: OutputFormat) -> Result<(), CliError> {
    let cluster = client.admin().describe_cluster().await?;
    if format == OutputFormat::Json {
        let nodes =
            cluster.nodes.iter().map(|node| json!({ "node_id": node.node_id, "address": node.address }));
        return print_json(&json!({
            "cluster_id": cluster.cluster_id,
            "nodes": nodes.collect::<Vec<_>>(),
            "controller_node_id": cluster.controller_node_id,
            "answering_node_id": cluster.answering_node_id,
            "metadata_version": cluster.metadata_version,
            "server_version": cluster.server_version,
            "recoveries": cluster.recoveries.iter().map(|recovery| json!({
                "cluster_id_before": recovery.cluster_id_before,
                "node_id": recovery.node_id,
                "at_ms": recovery.at_ms,
            })).collect::<Vec<_>>(),
        }));
    }
    let controller = cluster.controller_node_id.map_or_else(|| "none".to_owned(), |id| id.to_string());
    let mut table = Table::new(&["NODE", "ADDRESS", ""]);
    for node in &cluster.nodes {
        let role = if Some(node.node_id) == cluster.controller_node_id { "controller" } else { "" };
        table.row(vec![node.node_id.to_string(), node.address.clone(), role.to_owned()]);
    }
    let recovered: String = cluster
        .recoveries
        .iter()
        .map(|recovery| {
            let (was, node) = (&recovery.cluster_id_before, recovery.node_id);
            format!("recovered         from cluster {was}, whose majority was lost, by node {node}\n")
        })
        .collect();
    print_text(&format!(
        "cluster           {}\n{recovered}controller        {controller}\nmetadata version  {}\nserver version    {}\n\n{}",
        cluster.cluster_id,
        cluster.metadata_version,
        cluster.server_version,
        table.render()
    ))
}
