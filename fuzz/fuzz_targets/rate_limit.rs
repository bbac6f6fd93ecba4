//! Any traffic under a limit of answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| parrot_checks::check_rate_limit(input));
