//! Everything that parses bytes from outside, one target each: a function that takes any
//! bytes and panics when a parser breaks its promise.
//!
//! The same functions run in two ways: `tests/mutations.rs` feeds them seeded mutations of
//! their seeds on stable Rust, and `libfuzzer/` lets a coverage-guided fuzzer choose the bytes.
//!
//! To add a target: write its function and its seeds in the module of the crate it is about,
//! name it in [`TARGETS`], and give it a file of three lines in `libfuzzer/fuzz_targets/` and a
//! `[[bin]]` in `libfuzzer/Cargo.toml`. A test holds the three lists against each other.

pub mod metadata;
pub mod mutation;
pub mod peer;
pub mod records;
pub mod storage;

/// A parser under test.
pub struct Target {
    /// Its name, also that of its libFuzzer binary.
    pub name: &'static str,
    /// Feeds it; returns for any bytes whatsoever, unless the parser is wrong.
    pub run: fn(&[u8]),
    /// Valid inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "batch_parse", run: records::batch_parse, seeds: records::batch_seeds },
    Target { name: "batch_records", run: records::batch_records, seeds: records::batch_seeds },
    Target { name: "decompress", run: records::decompress, seeds: records::decompress_seeds },
    Target { name: "journal_frame", run: storage::journal_frame, seeds: storage::frame_seeds },
    Target { name: "journal_scan", run: storage::journal_scan, seeds: storage::journal_seeds },
    Target { name: "checkpoint_copy", run: storage::checkpoint_copy, seeds: storage::checkpoint_seeds },
    Target { name: "group_snapshot", run: storage::group_snapshot, seeds: storage::snapshot_seeds },
    Target { name: "metadata_command", run: metadata::metadata_command, seeds: metadata::command_seeds },
    Target { name: "metadata_snapshot", run: metadata::metadata_snapshot, seeds: metadata::snapshot_seeds },
    Target { name: "peer_frame", run: peer::peer_frame, seeds: peer::peer_frame_seeds },
];
