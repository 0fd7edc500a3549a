//! `highwater cluster init`: founds a cluster from nodes that wait for it. Every node is asked first, nothing is done when anything
//! is in the way, and what was cut short goes on when the command is typed again.

use std::time::Duration;

use clap::Args;
use highwater_client::{Contact, NodeState};
use highwater_types::limits::NODES_PER_CLUSTER_MAX;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::founding::{Founding, Met};
use crate::cli::OutputFormat;
use crate::error::CliError;
use crate::output::{print_json, print_text, say};

/// How long a node may look at its data, and the cluster take its nodes in.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long until a node is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Whom to found a cluster from.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The nodes to found it from, by their gRPC addresses. Without it the node that --server names, and its seeds. Up to
    /// three of them vote on the cluster's metadata
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',')]
    voters: Vec<String>,
}

/// Founds the cluster, or says that it is there.
pub(crate) async fn run(args: &InitArgs, servers: &[String], format: OutputFormat) -> Result<(), CliError> {
    let is_named = !args.voters.is_empty();
    let nodes = meet(if is_named { args.voters.as_slice() } else { servers }, is_named).await?;
    let found = |problems| CliError::CannotFound { problems };
    let plan = Founding::plan(&nodes).map_err(found)?;
    if format == OutputFormat::Table {
        announce(&plan, &nodes)?;
    }
    let was_there = plan.is_done();
    carry_out(&plan, &nodes).await?;
    wait_until_members(&nodes).await?;
    let addresses: Vec<&str> = nodes.iter().map(|node| node.address.as_str()).collect();
    if format == OutputFormat::Json {
        let nodes = nodes.iter().map(|node| json!({ "node_id": node.who.node.0, "address": node.address }));
        return print_json(&json!({
            "cluster_id": plan.cluster.to_string(),
            "founded": plan.founder.is_some(),
            "changed": !was_there,
            "nodes": nodes.collect::<Vec<_>>(),
        }));
    }
    let done = if was_there { "nothing to do" } else { "done" };
    print_text(&format!("{done}; see `highwater cluster describe --server {}`\n", addresses.join(",")))
}

/// Asks every node who it is, those too that the nodes have as seeds. In order of their ids.
async fn meet(addresses: &[String], is_named: bool) -> Result<Vec<Met>, CliError> {
    let mut nodes: Vec<Met> = Vec::new();
    let mut problems = Vec::new();
    let mut to_ask: Vec<(String, Option<String>)> =
        addresses.iter().map(|address| (address.trim().to_owned(), None)).collect();
    let mut asked = 0;
    while let Some((address, seed_of)) = to_ask.get(asked).cloned() {
        asked += 1;
        let contact = Contact::new(&address)?;
        let who = match settled(&contact).await {
            Ok(who) => who,
            Err(error) => {
                let of = seed_of.map(|node| format!(", a seed of {node}")).unwrap_or_default();
                problems.push(format!("{address}{of}: {error}"));
                continue;
            }
        };
        if nodes.iter().any(|met| met.who.process == who.process) {
            continue;
        }
        let met = Met { address, who };
        // A node that has its cluster does not wait for its seeds any more. One that was told of it a moment ago does: who is to found
        // it may be among them, and not have been told yet.
        let waits = match met.who.state {
            NodeState::Unborn => true,
            NodeState::Awaiting(_) => !met.who.is_founder,
            NodeState::Opening | NodeState::Member(_) => false,
        };
        if waits {
            for seed in &met.who.seeds {
                if !to_ask.iter().any(|(known, _)| known == seed) && to_ask.len() < NODES_PER_CLUSTER_MAX {
                    to_ask.push((seed.clone(), Some(met.to_string())));
                }
            }
        }
        match seed_of {
            Some(node) if is_named && met.who.state == NodeState::Unborn => problems.push(format!(
                "{met} is a seed of {node} and not among --voters: name it too, or take it off the seeds"
            )),
            _ => nodes.push(met),
        }
    }
    if !problems.is_empty() {
        return Err(CliError::CannotFound { problems });
    }
    nodes.sort_by_key(|met| met.who.node);
    Ok(nodes)
}

/// Who a node is, once it knows itself.
async fn settled(contact: &Contact) -> Result<highwater_client::Introduced, CliError> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let who = contact.identify().await?;
        if who.state != NodeState::Opening || Instant::now() >= deadline {
            return Ok(who);
        }
        sleep(ASK_AGAIN).await;
    }
}

fn announce(plan: &Founding, nodes: &[Met]) -> Result<(), CliError> {
    let cluster = plan.cluster;
    let mut text = match plan.founder {
        Some(founder) => format!("founding cluster {cluster}\n  {} begins it\n", nodes[founder]),
        None if plan.is_done() => format!("cluster {cluster} is initialized already\n"),
        None => format!("cluster {cluster} was founded\n"),
    };
    for &index in &plan.joining {
        text.push_str(&format!("  {} joins it\n", nodes[index]));
    }
    print_text(&text)
}

/// Tells those who join, one after the other, and then who founds.
async fn carry_out(plan: &Founding, nodes: &[Met]) -> Result<(), CliError> {
    for &index in plan.joining.iter().chain(&plan.founder) {
        let node = &nodes[index];
        let founds = Some(index) == plan.founder;
        // Who joins is told of all others. Who founds first, as long as there is one: it is the first that knows the cluster.
        let first = plan.founder.into_iter().chain(0..nodes.len());
        let mut ask: Vec<String> = Vec::new();
        for other in first.filter(|&other| other != index).map(|other| &nodes[other].address) {
            if !ask.contains(other) {
                ask.push(other.clone());
            }
        }
        let contact = Contact::new(&node.address)?;
        let told = contact.give_birth(&node.who, plan.cluster, founds, &ask).await;
        told.map_err(|cause| CliError::NotBorn { node: node.to_string(), cause })?;
    }
    Ok(())
}

/// Waits until every node has the cluster's metadata.
async fn wait_until_members(nodes: &[Met]) -> Result<(), CliError> {
    let deadline = Instant::now() + DEADLINE;
    for node in nodes {
        let contact = Contact::new(&node.address)?;
        let mut said = false;
        loop {
            let state = contact.identify().await.map(|who| who.state);
            if matches!(state, Ok(NodeState::Member(_))) {
                break;
            }
            if Instant::now() >= deadline {
                let seconds = DEADLINE.as_secs();
                return Err(CliError::NotTakenIn { node: node.to_string(), seconds });
            }
            if !std::mem::replace(&mut said, true) {
                say(&format!("waiting for {node}"));
            }
            sleep(ASK_AGAIN).await;
        }
    }
    Ok(())
}
