//! Any sequence of calls on a connection, against its model: `cargo +nightly fuzz run -s none connection`.
#![no_main]

#[path = "../../crates/parrot-conn/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| support::Checked::play(bytes));
