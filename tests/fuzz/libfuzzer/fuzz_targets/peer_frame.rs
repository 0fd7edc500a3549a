//! Feeds [`highwater_fuzz::peer::peer_frame`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_fuzz::peer::peer_frame(data));
