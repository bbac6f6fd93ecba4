//! Any messages, written to a log in both formats.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| parrot_checks::check_log_lines(input));
