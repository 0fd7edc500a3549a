//! What the short forms share: a seed that can be replayed, a promise that must hold, and a need that may be missing.

use highwater_crash::CrashError;

/// Goes on with what the machine has, or ends the test with the reason why not.
macro_rules! need {
    ($need:expr) => {
        match $need {
            Ok(there) => there,
            Err(reason) => {
                println!("SKIPPED: {reason}");
                return;
            }
        }
    };
}

/// That of `HIGHWATER_SEED`, or a new one; printed.
pub(crate) fn seed() -> u64 {
    let seed =
        std::env::var("HIGHWATER_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("HIGHWATER_SEED={seed}");
    seed
}

/// What a scenario found out; panics with the promise that it saw broken.
pub(crate) fn promise_kept<T>(outcome: Result<T, CrashError>) -> T {
    match outcome {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}
