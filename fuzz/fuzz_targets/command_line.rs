//! Any arguments and any RUST_LOG.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| parrot_cli::check_command_line(input));
