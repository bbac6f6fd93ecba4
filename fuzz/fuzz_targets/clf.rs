//! Any messages through the log: the check says what must hold of the lines.
#![no_main]

#[path = "../checks/clf.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check::check(input));
