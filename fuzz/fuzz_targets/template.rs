//! Any greeting or prefix, with any values.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| parrot_checks::check_template(input));
