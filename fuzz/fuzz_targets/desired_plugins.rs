//! See `desired_plugins` in ../targets.rs.
#![no_main]
#![allow(dead_code, reason = "each target uses one function of them")]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::desired_plugins(bytes));
