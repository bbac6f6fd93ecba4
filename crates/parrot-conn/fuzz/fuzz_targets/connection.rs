//! Any sequence of calls on a connection, against its model: `cargo +nightly fuzz run connection` in `crates/parrot-conn`.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| support::Checked::play(bytes));
