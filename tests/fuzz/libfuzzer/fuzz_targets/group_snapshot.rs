//! Feeds [`highwater_fuzz::storage::group_snapshot`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_fuzz::storage::group_snapshot(data));
