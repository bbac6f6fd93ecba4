//! Any datagram under any rules.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| parrot_checks::check_datagram(input));
