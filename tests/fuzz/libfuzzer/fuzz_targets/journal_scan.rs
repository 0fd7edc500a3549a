//! Feeds [`highwater_fuzz::storage::journal_scan`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_fuzz::storage::journal_scan(data));
