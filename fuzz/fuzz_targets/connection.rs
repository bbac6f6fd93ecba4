//! Any sequence of calls on a connection, beside a model of it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| parrot_checks::connection::Checked::play(input));
