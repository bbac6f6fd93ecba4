//! Any PROXY protocol header, in any pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| parrot_checks::check_proxy_header(input));
