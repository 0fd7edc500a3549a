//! The short forms, for every change; the long ones are `cargo run -p highwater-crash`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use highwater_crash::CrashError;
use highwater_crash::power::LoopDisk;
use highwater_crash::scenario::{killed_under_load, power_cut_under_load};

fn seed() -> u64 {
    let seed =
        std::env::var("HIGHWATER_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("HIGHWATER_SEED={seed}");
    seed
}

fn promise_kept<T>(outcome: Result<T, CrashError>) -> T {
    match outcome {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

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
    let disk = match LoopDisk::create(directory.path(), CUTS) {
        Ok(disk) => disk,
        Err(reason) => {
            println!("SKIPPED: this machine has no loop mounts: {reason}");
            return;
        }
    };
    let account =
        promise_kept(power_cut_under_load(&disk, &directory.path().join("node.log"), CUTS, seed()).await);
    println!("{account:?}");
}
