//! Feeds [`highwater_fuzz::metadata::metadata_snapshot`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_fuzz::metadata::metadata_snapshot(data));
