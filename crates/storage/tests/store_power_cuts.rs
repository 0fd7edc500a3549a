//! Power cuts and killed processes at seeded points of everything that a store does, and of its
//! recovery. After each, all that was promised must be there.
//!
//! The short form dies about 2000 times. A failure prints its seed; replay it with
//! `HIGHWATER_SEED=n cargo test -p highwater-storage --test store_power_cuts`. The long form runs as many
//! seeds as told: `HIGHWATER_SEEDS=20000 cargo test --release -p highwater-storage --test store_power_cuts`
//! (a thousand seeds, 9000 crashes, take about a minute in a debug build); `HIGHWATER_FIRST_SEED` moves its start, and `HIGHWATER_TRACE=1` tells every step.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says what it saw")]

mod support;

use support::from_environment;
use support::model::Death;
use support::workload::Workload;

/// Seeds of the short form, each with several lives.
const SEEDS: u64 = 240;
const LIVES: u64 = 6;
const OPERATIONS_PER_LIFE: u64 = 60;

fn run(seed: u64) -> u64 {
    struct Announce(u64);
    impl Drop for Announce {
        fn drop(&mut self) {
            if std::thread::panicking() {
                println!("replay with HIGHWATER_SEED={}", self.0);
            }
        }
    }
    let _announce = Announce(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut workload = Workload::new(seed);
        workload.reopen(Death::Killed).await;
        for _ in 0..LIVES {
            let operations = 1 + workload.random.below(2 * OPERATIONS_PER_LIFE);
            workload.live_and_die(operations).await;
        }
        workload.crashes
    })
}

#[test]
fn whatever_was_promised_is_there_after_any_crash() {
    let seeds = match from_environment("HIGHWATER_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = from_environment("HIGHWATER_FIRST_SEED").unwrap_or(0);
            first..first + from_environment("HIGHWATER_SEEDS").unwrap_or(SEEDS)
        }
    };
    let count = seeds.end - seeds.start;
    let crashes: u64 = seeds.map(run).sum();
    println!("{crashes} crashes in {count} seeds");
}
