//! Any bytes as snapshots, as they stand in the log.

#![no_main]
#![allow(dead_code)]

#[path = "../../libs/domain/tests/fuzz/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::snapshot(data));
