//! What is shown, as scenarios: `scenarios/{base}.json` is a view in which all is well, and each scenario in `{name}.txt` says what is
//! different and what then is to be read. `UPDATE_SCENARIOS=1` writes down what is shown now, to be read before it is committed.
//!
//! ```text
//! === the scenario's name
//! width 60                            the screen's width; without it, a pipe
//! /nodes/2/is_reachable = false       a JSON pointer into the view, and the value there
//! ---
//! what is shown
//! ```

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::cluster_status::ClusterStatus;
use super::group::{GroupView, lag_table};
use super::node::node_table;
use super::node_progress::NodeProgress;
use super::partition::{PartitionView, partition_table};
use super::plan::Plan;
use super::reassignment::{ReassignmentView, reassignment_table};
use super::reset_plan::ResetPlan;
use crate::output::Screen;

fn play<View: DeserializeOwned>(name: &str, base: &str, show: impl Fn(View, &Screen) -> String) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/views/scenarios");
    let read = |file: String| std::fs::read_to_string(folder.join(file)).expect("a scenario");
    let base: Value = serde_json::from_str(&read(format!("{base}.json"))).expect("JSON");
    let text = read(format!("{name}.txt"));
    let mut shown_now = String::new();
    for scenario in text.split("=== ").skip(1) {
        let (head, expected) = scenario.split_once("---\n").expect("a line of dashes");
        let mut lines = head.lines();
        let title = lines.next().expect("a title");
        let (mut view, mut screen) = (base.clone(), Screen::plain());
        for line in lines {
            if let Some(width) = line.strip_prefix("width ") {
                screen = Screen::of_width(width.parse().expect("a width"));
                continue;
            }
            let (pointer, value) = line.split_once(" = ").expect(line);
            let place = view.pointer_mut(pointer).unwrap_or_else(|| panic!("{title}: no {pointer}"));
            *place = serde_json::from_str(value).unwrap_or_else(|error| panic!("{title}: {line}: {error}"));
        }
        let shown = show(serde_json::from_value(view).expect(title), &screen);
        let shown = format!("{}\n\n", shown.trim_end());
        if std::env::var_os("UPDATE_SCENARIOS").is_none() {
            assert_eq!(shown.trim_end(), expected.trim_end(), "{name}: {title}");
        }
        write!(shown_now, "=== {head}---\n{shown}").expect("a string takes it");
    }
    assert!(!shown_now.is_empty(), "{name} has no scenarios");
    if std::env::var_os("UPDATE_SCENARIOS").is_some() {
        let text = format!("{}\n", shown_now.trim_end());
        std::fs::write(folder.join(format!("{name}.txt")), text).expect("written");
    }
}

#[test]
fn a_status_says_what_is_wrong_first_and_what_to_do() {
    play("status", "status", |status: ClusterStatus, screen| status.judged().render(screen));
}

#[test]
fn nodes_are_listed_on_any_screen_and_described_in_full() {
    play("nodes", "status", |status: ClusterStatus, screen| {
        let described: Vec<String> = status.nodes.iter().map(|node| node.render(screen)).collect();
        format!("{}\n{}", node_table(&status.nodes).render_on(screen), described.last().expect("a node"))
    });
}

#[test]
fn a_partition_shows_who_is_behind_damaged_or_leaving() {
    play("partition", "partition", |partition: PartitionView, screen| {
        let full = partition.render("orders-0", Some("").filter(|_| false), screen);
        format!("{}\n{full}", partition_table(&[partition]).render_on(screen))
    });
}

#[test]
fn a_plan_says_what_it_moves_and_what_that_costs() {
    play("plan", "plan", |plan: Plan, screen| plan.render(screen));
}

#[test]
fn moves_under_way_show_what_they_wait_for() {
    play("moves", "moves", |moves: Vec<ReassignmentView>, screen| reassignment_table(&moves).render_on(screen));
}

#[test]
fn what_a_mode_still_waits_for_fits_on_a_line() {
    play("progress", "progress", |progress: NodeProgress, _| progress.summary());
}

#[test]
fn a_group_shows_its_members_and_what_waits_for_them() {
    play("group", "group", |group: GroupView, screen| {
        let described = group.render(screen);
        let first_line = group.render_lag(screen).lines().next().expect("a summary").to_owned();
        format!("{described}\n{first_line}\n\n{}", lag_table(&[group]).render_on(screen))
    });
}

#[test]
fn a_reset_says_where_each_partition_goes_before_it_does() {
    play("reset", "reset", |plan: ResetPlan, screen| plan.render(screen));
}

/// The names of all fields in a value.
fn names(value: &Value, found: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            found.insert(name.clone());
            names(value, found);
        }),
        Value::Array(values) => values.iter().for_each(|value| names(value, found)),
        _ => {}
    }
}

#[test]
fn every_field_that_programs_read_is_documented() {
    let document = include_str!("../../OUTPUT.md");
    let mut found = std::collections::BTreeSet::new();
    for view in ["status", "partition", "plan", "moves", "progress", "group", "reset"] {
        let path = format!("{}/src/views/scenarios/{view}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("a scenario");
        names(&serde_json::from_str(&text).expect("JSON"), &mut found);
    }
    let missing: Vec<_> = found.into_iter().filter(|name| !document.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "OUTPUT.md does not say what {missing:?} are");
}
