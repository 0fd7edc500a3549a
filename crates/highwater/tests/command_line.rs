//! The binary as a user types it: a node is started with `dev`, and everything else goes through the command line.

#[path = "support/node.rs"]
mod node;

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use node::{BINARY, Node, started, stderr};

#[test]
fn what_is_produced_is_consumed_byte_for_byte() {
    let (_folder, node) = started();
    node.stdout(&["topic", "create", "lines"]);
    let text = b"first\n\nwith \xff and \x00\n  spaces  \n";
    assert!(node.feed(&["produce", "lines"], text).status.success());
    let output = node.run(&["consume", "lines", "--from", "earliest", "--until-end"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(output.stdout, text);
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
    assert_eq!(
        node.stdout(&["consume", "lines", "--from", "2", "--count", "1", "--format", "json"]).lines().count(),
        1
    );
    assert_eq!(node.stdout(&["consume", "lines", "--from", "latest", "--until-end"]), "");
}

#[test]
fn each_record_has_a_line_with_its_place_once_it_is_acknowledged() {
    let (_folder, node) = started();
    node.stdout(&["topic", "create", "lines"]);
    let output = node.feed(&["produce", "lines", "--print-acks"], b"a\nb\n");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(output.stdout, b"lines-0 0\nlines-0 1\n");
    assert!(stderr(&output).starts_with("2 records, "), "{}", stderr(&output));
    let output = node.feed(&["produce", "lines", "--print-acks", "--quiet", "--output", "json"], b"c\n");
    assert_eq!(output.stdout, b"{\"topic\":\"lines\",\"partition\":0,\"offset\":2}\n");
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
    let many = "x\n".repeat(50_000);
    let printed = node.feed(&["produce", "lines", "--print-acks", "-q"], many.as_bytes()).stdout;
    let expected: String = (3..50_003).map(|offset| format!("lines-0 {offset}\n")).collect();
    assert!(printed == expected.as_bytes(), "each record once, in order");
}

#[test]
fn a_command_ends_in_its_time_before_any_server_answered_and_says_what_it_waited_for() {
    // It takes connections, and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let server = silent.local_addr().expect("it is bound").to_string();
    for (command, unfinished) in [
        ("node drain 1", "node 1 is not drained"),
        ("node maintenance 1", "node 1 still leads"),
        ("cluster status", "how the cluster is, is not known"),
        ("cluster status --wait healthy", "the cluster is not healthy"),
    ] {
        let mut process = Command::new(BINARY);
        process.args(command.split(' ')).args(["--timeout", "1s", "--server", &server]);
        let output = process.stdin(Stdio::null()).output().expect("the binary runs");
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        let expected = " after 1s: waited for the cluster's first answer, which no server has given";
        assert!(said.contains(unfinished) && said.contains(expected), "{command}: {said}");
    }
}

#[test]
fn what_is_consumed_as_json_can_be_produced_again() {
    let (_folder, node) = started();
    node.stdout(&["topic", "create", "a", "--partitions", "3"]);
    node.stdout(&["topic", "create", "b", "--partitions", "3"]);
    let mut input = String::new();
    for number in 0..500 {
        let value = format!(r#""key":"k{}","value":"v{number}","headers":{{"n":"{number}"}}"#, number % 7);
        input.push_str(&format!("{{{value},\"timestamp\":{}}}\n", 1_700_000_000_000_i64 + number));
    }
    assert!(node.feed(&["produce", "a", "--format", "json"], input.as_bytes()).status.success());
    let everything = ["--from", "earliest", "--until-end", "--format", "json"];
    let read = |topic: &str| {
        let mut lines: Vec<_> =
            node.stdout(&[&["consume", topic][..], &everything].concat()).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let first = read("a");
    assert_eq!(first.len(), 500);
    assert!(node.feed(&["produce", "b", "--format", "json"], first.join("\n").as_bytes()).status.success());
    // The input is sorted as text, so offsets differ; everything else is the same.
    let without_offset = |lines: Vec<String>| {
        let mut values: Vec<_> = lines
            .iter()
            .map(|line| {
                let mut value: serde_json::Value = serde_json::from_str(line).expect("JSON");
                value.as_object_mut().expect("an object").remove("offset");
                value.to_string()
            })
            .collect();
        values.sort();
        values
    };
    assert_eq!(without_offset(read("b")), without_offset(first));
}

#[test]
fn a_node_killed_midway_and_started_again_is_ridden_through() {
    let (folder, node) = started();
    node.stdout(&["topic", "create", "t", "--partitions", "4"]);
    let line = |number: u32| {
        format!("{{\"key\":\"{}\",\"value\":\"{number:06} {}\"}}\n", number % 50, "x".repeat(200))
    };
    let mut producer = node
        .command(&["produce", "t", "--format", "json"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = producer.stdin.take().expect("stdin is piped");
    let (half, rest): (String, String) =
        ((0..10_000).map(line).collect(), (10_000..20_000).map(line).collect());
    stdin.write_all(half.as_bytes()).expect("the producer reads");
    let (address, port) = (node.address.clone(), node.port());
    drop(node);
    let feeder = std::thread::spawn(move || stdin.write_all(rest.as_bytes()));
    let node = Node::start(&folder.path().join("data"), &port);
    assert_eq!(node.address, address);
    feeder.join().expect("the feeder ends").expect("the producer reads on");
    let output = producer.wait_with_output().expect("the producer ends");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("20000 records, "), "{}", stderr(&output));

    let read = node.stdout(&["consume", "t", "--from", "earliest", "--until-end"]);
    let numbers: Vec<u32> = read.lines().map(|line| line[..6].parse().expect("a number")).collect();
    let mut last_of_key = [None; 50];
    for number in &numbers {
        let last = &mut last_of_key[usize::try_from(number % 50).expect("small")];
        assert!(*last < Some(*number), "{number} after {last:?}");
        *last = Some(*number);
    }
    assert_eq!(numbers.len(), 20_000);
}

#[test]
fn a_reader_that_has_enough_ends_the_command_quietly() {
    let (_folder, node) = started();
    node.stdout(&["topic", "create", "t"]);
    let lines = "a line of some length, many times\n".repeat(50_000);
    assert!(node.feed(&["produce", "t"], lines.as_bytes()).status.success());
    let mut consumer = node
        .command(&["consume", "t", "--from", "earliest"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut first = [0; 10];
    let mut stdout = consumer.stdout.take().expect("stdout is piped");
    stdout.read_exact(&mut first).expect("records come");
    drop(stdout);
    let output = consumer.wait_with_output().expect("the consumer ends");
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn every_failure_says_what_to_do_and_has_its_exit_code() {
    let (_folder, node) = started();
    node.stdout(&["topic", "create", "t"]);
    for (args, code, expected) in [
        (&["consume", "nope", "--until-end"][..], 1, "create it with `highwater topic create nope`"),
        (&["topic", "create", "t"], 1, "TOPIC_ALREADY_EXISTS"),
        (&["topic", "create", "u", "--config", "cleanup.policy=compact"], 1, "INVALID_CONFIG"),
        (&["topic", "create", "u", "--config", "oops"], 2, "expected NAME=VALUE"),
        (&["consume", "t", "--from", "yesterday"], 2, "expected earliest, latest"),
        (&["consume", "t", "--from", "7", "--until-end"], 1, "OFFSET_OUT_OF_RANGE"),
        (&["consume", "t", "--partition", "9", "--from", "earliest"], 1, "there is no partition 9"),
        (&["produce", "t", "/no/such/file"], 1, "cannot read /no/such/file"),
        (&["topic", "alter", "t"], 2, "required"),
        (&["topic", "list", "--server", "127.0.0.1:1"], 1, "start one with `highwater dev`"),
        (&["topic", "list", "--server", "not an address"], 2, "expected host:port"),
    ] {
        let output = node.run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{args:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    let output = node
        .feed(&["produce", "t", "--format", "json"], b"{\"value\":\"good\"}\nbad\n{\"value\":\"unread\"}\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("stdin, line 2: not a record"), "{}", stderr(&output));
    assert_eq!(node.stdout(&["consume", "t", "--from", "earliest", "--until-end"]), "good\n");
}

#[test]
fn topics_are_shown_for_people_and_for_programs() {
    let (_folder, node) = started();
    let created =
        node.stdout(&["topic", "create", "orders", "--partitions", "2", "--config", "retention.ms=86400000"]);
    assert_eq!(created, "created topic orders with 2 partitions, replication factor 1\n");
    let described: serde_json::Value =
        serde_json::from_str(&node.stdout(&["topic", "describe", "orders", "--output", "json"])).expect("JSON");
    assert_eq!(described["partitions"].as_array().map(Vec::len), Some(2));
    assert_eq!(described["partitions"][1]["high_watermark"], 0);
    assert_eq!(described["configs"]["retention.ms"]["value"], "86400000");
    assert_eq!(described["configs"]["retention.ms"]["source"], "topic");
    node.stdout(&["topic", "alter", "orders", "--reset", "retention.ms"]);
    node.stdout(&["topic", "add-partitions", "orders", "--total", "3"]);
    let table = node.stdout(&["topic", "describe", "orders"]);
    assert!(table.contains("retention.ms") && table.contains("HIGH WATERMARK"), "{table}");
    let cluster: serde_json::Value =
        serde_json::from_str(&node.stdout(&["--output", "json", "cluster", "describe"])).expect("JSON");
    assert_eq!(cluster["nodes"][0]["address"], node.address);
    node.stdout(&["topic", "delete", "orders"]);
    assert_eq!(node.stdout(&["topic", "list", "--output", "json"]), "[]\n");
}
