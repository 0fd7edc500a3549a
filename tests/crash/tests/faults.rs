//! One fault at a time against a real node, in the short form; the long ones are `cargo run -p highwater-crash`.
//! What this machine cannot do is skipped with its reason.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[macro_use]
mod support;

use std::time::Duration;

use highwater_crash::faults::{clock, disk_error, disk_full, many_topics, needs, refused, stop};

use support::{promise_kept, seed};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_producing_by_name_and_resumes_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let disk = need!(needs::loop_disk(directory.path(), disk_full::DISK_MIB));
    promise_kept(disk_full::full_and_freed(&disk, &directory.path().join("node.log"), seed()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_on_a_disk_full_to_the_last_block_lose_no_acked_record() {
    let directory = tempfile::tempdir().unwrap();
    let disk = need!(needs::loop_disk(directory.path(), disk_full::DISK_MIB));
    promise_kept(disk_full::killed_on_a_full_disk(&disk, &directory.path().join("node.log"), 3, seed()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_ends_the_node_by_name_and_nothing_is_acked_after_it() {
    let directory = tempfile::tempdir().unwrap();
    need!(needs::strace());
    let disk = need!(needs::loop_disk(directory.path(), disk_full::DISK_MIB));
    promise_kept(disk_error::sync_fails_under_load(&disk, &directory.path().join("node.log"), 4, seed()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_a_directory_is_refused_with_the_first_ones_id() {
    let directory = tempfile::tempdir().unwrap();
    promise_kept(refused::second_process(directory.path()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_no_whole_one_of_this_version_is_refused_and_not_changed() {
    let directory = tempfile::tempdir().unwrap();
    promise_kept(refused::unusable_directory(directory.path()).await);
}

#[test]
fn a_port_in_use_is_named() {
    let directory = tempfile::tempdir().unwrap();
    promise_kept(refused::port_in_use(directory.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_another_user_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    need!(needs::other_user());
    promise_kept(refused::not_permitted(directory.path()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_file_system_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    if let Some(reason) = promise_kept(refused::read_only_mount(directory.path()).await) {
        println!("SKIPPED: no mounts here: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_topics_live_through_a_restart_and_leave_nothing_when_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let cost =
        promise_kept(many_topics::alive_and_deleted(directory.path(), 1000, Duration::from_secs(5)).await);
    println!("{cost:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_by_years_loses_no_acked_record() {
    let directory = tempfile::tempdir().unwrap();
    let library = need!(needs::faketime());
    promise_kept(clock::clock_jumps_under_load(directory.path(), &library, seed()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_and_ctrl_c_under_load_are_clean() {
    let directory = tempfile::tempdir().unwrap();
    promise_kept(stop::stopped_under_load(directory.path(), 6, seed()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_ctrl_c_ends_a_stop_that_hangs_at_once() {
    let directory = tempfile::tempdir().unwrap();
    need!(needs::strace());
    promise_kept(stop::second_interrupt(directory.path(), seed()).await);
}
