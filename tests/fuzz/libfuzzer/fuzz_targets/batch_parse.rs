//! Feeds [`highwater_fuzz::records::batch_parse`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_fuzz::records::batch_parse(data));
