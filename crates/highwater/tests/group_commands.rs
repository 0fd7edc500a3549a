//! Consumer groups as a user types them: what is shown of them, what waits for them, and their offsets.

#[path = "support/node.rs"]
mod node;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use highwater_client::{Client, OffsetCommit, TopicPartition};
use highwater_types::{Offset, PartitionIndex};
use node::{Node, started, stderr};
use serde_json::Value;

/// Commits for a group without members.
fn commit(node: &Node, group: &str, offsets: &[(&str, u32, i64)]) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let admin = Client::connect([&node.address]).expect("an address").admin();
        let commits: Vec<_> = offsets
            .iter()
            .map(|(topic, partition, offset)| {
                let of = TopicPartition::new(*topic, PartitionIndex(*partition));
                OffsetCommit::new(of, Offset(*offset))
            })
            .collect();
        let outcomes = admin.commit_offsets(group, &commits).await.expect("answered");
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    });
}

fn json(node: &Node, args: &[&str]) -> Value {
    serde_json::from_str(&node.stdout(&[args, &["--output", "json"]].concat())).expect("JSON")
}

/// What is committed of a topic, by partition.
fn committed(node: &Node, group: &str) -> Vec<(u64, Option<i64>)> {
    let described = json(node, &["group", "describe", group]);
    let partitions = described["partitions"].as_array().expect("an array");
    let of = |partition: &Value| {
        (partition["partition"].as_u64().expect("a number"), partition["committed_offset"].as_i64())
    };
    partitions.iter().map(of).collect()
}

/// A topic of two partitions with ten records each, a second apart and the last one a minute old.
fn with_records() -> (tempfile::TempDir, Node, i64) {
    let (folder, node) = started();
    node.stdout(&["topic", "create", "orders", "--partitions", "2"]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let last = i64::try_from(now.as_millis()).expect("small") - 60_000;
    let record = |number: i64| {
        let (partition, place) = (number % 2, number / 2);
        let timestamp = last - (9 - place) * 1000;
        format!("{{\"partition\":{partition},\"value\":\"{place}\",\"timestamp\":{timestamp}}}\n")
    };
    let input: String = (0..20).map(record).collect();
    let output = node.feed(&["produce", "orders", "--format", "json"], input.as_bytes());
    assert!(output.status.success(), "{}", stderr(&output));
    (folder, node, last)
}

#[test]
fn a_group_shows_what_it_has_committed_and_for_how_long_the_rest_waits() {
    let (_folder, node, last) = with_records();
    let none = node.run(&["group", "list"]);
    assert!(none.status.success() && stderr(&none).contains("consume TOPIC --group NAME"), "{}", stderr(&none));
    commit(&node, "billing", &[("orders", 0, 4), ("orders", 1, 10)]);
    commit(&node, "audit", &[("orders", 1, 9)]);

    let table = node.stdout(&["group", "list"]);
    assert_eq!(
        table,
        "GROUP    STATE  MEMBERS  COORDINATOR\naudit    empty  0        1\nbilling  empty  0        1\n"
    );
    assert_eq!(json(&node, &["group", "list", "b"])[0]["group"], "billing");
    let described = json(&node, &["group", "describe", "billing"]);
    assert_eq!((&described["lag"], &described["partitions"][1]["time_lag_ms"]), (&6.into(), &0.into()));
    let waits = described["time_lag_ms"].as_i64().expect("a record waits");
    // The fifth record is five seconds older than the last one.
    assert!((65_000..600_000).contains(&waits), "{waits} since {last}");
    let table = node.stdout(&["group", "describe", "billing"]);
    assert!(
        table.contains("PARTITION  COMMITTED  END  LAG  TIME LAG\norders-0   4          10   6    1m "),
        "{table}"
    );

    let lags = json(&node, &["group", "lag"]);
    let of = |place: usize| (lags[place]["group"].as_str(), lags[place]["lag"].as_u64());
    assert_eq!([of(0), of(1)], [(Some("audit"), Some(1)), (Some("billing"), Some(6))]);
    assert_eq!(json(&node, &["group", "lag", "audit"])["partitions"][0]["lag"], 1);
}

#[test]
fn lag_is_shown_again_and_again_for_people_and_for_programs() {
    let (_folder, node, _) = with_records();
    commit(&node, "billing", &[("orders", 0, 4)]);
    let watch = |more: &[&str]| {
        let args = [&["group", "lag", "--watch", "--interval", "100ms"], more].concat();
        let mut process = node.command(&args).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let lines = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
        (process, lines.map_while(Result::ok))
    };
    let (mut process, mut lines) = watch(&["--output", "json"]);
    let mut next = || -> Value { serde_json::from_str(&lines.next().expect("a line")).expect("JSON") };
    assert_eq!(next()["lag"], 6);
    commit(&node, "billing", &[("orders", 0, 7)]);
    while next()["lag"] != 3 {}
    process.kill().expect("it runs");
    process.wait().expect("it ended");

    let (mut process, lines) = watch(&["billing"]);
    let tables = lines.filter(|line| line.starts_with("orders-0   7          10   3"));
    assert_eq!(tables.take(2).count(), 2);
    process.kill().expect("it runs");
    process.wait().expect("it ended");
}

#[test]
fn a_reset_is_a_plan_until_it_is_executed() {
    let (_folder, node, last) = with_records();
    commit(&node, "billing", &[("orders", 0, 4), ("orders", 1, 10)]);
    let plan = node.stdout(&["group", "reset", "billing", "--to", "-3"]);
    let expected = "PARTITION  FROM  TO  DIFFERENCE\norders-0   4     1   -3\norders-1   10    7   -3\n\n\
                    would set 2 offsets of group billing; with --execute it does\n";
    assert_eq!(plan, expected);
    assert_eq!(committed(&node, "billing"), [(0, Some(4)), (1, Some(10))]);

    let reset = |to: &str, more: &[&str]| {
        let args = ["group", "reset", "billing", "--to", to, "--execute"];
        json(&node, &[&args, more].concat());
        committed(&node, "billing")
            .into_iter()
            .map(|(_, offset)| offset.expect("committed"))
            .collect::<Vec<_>>()
    };
    assert_eq!(reset("earliest", &[]), [0, 0]);
    assert_eq!(reset("latest", &["--topic", "orders", "--partition", "1"]), [0, 10]);
    assert_eq!(reset("+4", &["--topic", "orders"]), [4, 10]);
    assert_eq!(reset("8", &[]), [8, 8]);
    assert_eq!(reset("-100", &[]), [0, 0]);
    assert_eq!(reset(&last.to_string(), &[]), [9, 9]);
    assert_eq!(reset("2001-01-01T00:00:00Z", &[]), [0, 0]);
    assert_eq!(reset("-1h", &["--topic", "orders", "--partition", "0"]), [0, 0]);
    assert_eq!(reset("-1s", &[]), [10, 10]);
    // A group begins with its first offset.
    node.stdout(&["group", "reset", "replay", "--to", "3", "--topic", "orders", "--execute"]);
    assert_eq!(committed(&node, "replay"), [(0, Some(3)), (1, Some(3))]);
}

#[test]
fn offsets_and_groups_are_forgotten() {
    let (_folder, node, _) = with_records();
    commit(&node, "billing", &[("orders", 0, 4), ("orders", 1, 10)]);
    let forget = ["group", "delete-offsets", "billing", "--topic", "orders"];
    let said = node.stdout(&[&forget[..], &["--partition", "1"]].concat());
    assert_eq!(said, "group billing has forgotten 1 offset of topic orders\n");
    assert_eq!(committed(&node, "billing"), [(0, Some(4))]);
    assert_eq!(json(&node, &forget)["partitions"], serde_json::json!([0]));
    assert_eq!(node.stdout(&["group", "delete", "billing"]), "deleted group billing\n");
    assert_eq!(node.stdout(&["group", "list", "--output", "json"]), "[]\n");
}

#[test]
fn what_cannot_be_done_with_a_group_says_why() {
    let (_folder, node, _) = with_records();
    commit(&node, "billing", &[("orders", 0, 4)]);
    for (args, code, expected) in [
        (&["describe", "nope"][..], 1, "hint: `highwater group list`"),
        (&["delete", "nope"], 1, "UNKNOWN_GROUP"),
        (&["delete-offsets", "nope", "--topic", "orders"], 1, "UNKNOWN_GROUP"),
        (&["lag", "nope", "--watch"], 1, "UNKNOWN_GROUP"),
        (&["lag", "--interval", "1s"], 2, "--watch"),
        (&["reset", "nope", "--to", "earliest"], 1, "group nope has committed nothing"),
        (&["reset", "billing", "--to", "first"], 2, "records on or back"),
        (&["reset", "billing", "--to", "0", "--partition", "0"], 2, "--topic"),
        (&["reset", "billing", "--to", "0", "--topic", "nope"], 1, "topic create nope"),
        (&["reset", "billing", "--to", "0", "--topic", "orders", "--partition", "2"], 1, "no partition 2"),
    ] {
        let output = node.run(&[&["group"], args].concat());
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{args:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}
