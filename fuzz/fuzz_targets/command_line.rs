//! Any arguments and any RUST_LOG: the check says what must come of them.
#![no_main]
// Compiled into this program as they are, and used in part.
#![allow(dead_code, unreachable_pub)]

#[path = "../../crates/parrot-cli/src/arguments.rs"]
mod arguments;
#[path = "../checks/command_line.rs"]
mod check;
#[path = "../../crates/parrot-cli/src/diagnostics.rs"]
mod diagnostics;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check::check(input));
