//! Feeds [`highwater_fuzz::records::batch_records`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_fuzz::records::batch_records(data));
