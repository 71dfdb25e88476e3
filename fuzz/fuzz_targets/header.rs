//! Any bytes as messages of the log by subject, headers and payload.

#![no_main]
#![allow(dead_code)]

#[path = "../../libs/domain/tests/fuzz/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::message(data));
