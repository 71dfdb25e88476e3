//! Any bytes as cursors, as clients bring them back.

#![no_main]
#![allow(dead_code)]

#[path = "../../libs/domain/tests/fuzz/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::cursor(data));
