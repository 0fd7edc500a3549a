//! Feeds [`highwater_fuzz::metadata::metadata_command`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_fuzz::metadata::metadata_command(data));
