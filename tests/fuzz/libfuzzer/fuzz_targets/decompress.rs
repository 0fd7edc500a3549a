//! Feeds [`highwater_fuzz::records::decompress`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_fuzz::records::decompress(data));
