//! Feeds [`highwater_fuzz::storage::checkpoint_copy`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_fuzz::storage::checkpoint_copy(data));
