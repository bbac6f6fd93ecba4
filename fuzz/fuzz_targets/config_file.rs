//! Any file of options, and an argument.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| parrot_cli::check_config_file(input));
