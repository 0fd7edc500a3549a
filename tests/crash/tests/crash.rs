//! The short forms, for every change; the long ones are `cargo run -p highwater-crash`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[macro_use]
mod support;

use highwater_crash::power::LoopDisk;
use highwater_crash::scenario::{killed_under_load, power_cut_under_load};

use support::{promise_kept, seed};

#[tokio::test(flavor = "multi_thread")]
async fn fifty_kills_under_load_lose_no_acked_record() {
    let directory = tempfile::tempdir().unwrap();
    let account = promise_kept(killed_under_load(directory.path(), 50, seed()).await);
    println!("{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn power_cuts_under_load_lose_no_acked_record_of_a_durable_topic() {
    const CUTS: u32 = 10;
    let directory = tempfile::tempdir().unwrap();
    let disk = LoopDisk::create(directory.path(), CUTS);
    let disk = need!(disk.map_err(|error| format!("no loop mounts here: {error}")));
    let account =
        promise_kept(power_cut_under_load(&disk, &directory.path().join("node.log"), CUTS, seed()).await);
    println!("{account:?}");
}
