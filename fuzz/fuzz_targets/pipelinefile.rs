//! libFuzzer on `properties/pipelinefile.rs`.
#![no_main]

#[path = "../properties/mod.rs"]
#[allow(dead_code, reason = "the other properties have targets of their own")]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::pipelinefile::check(data));
