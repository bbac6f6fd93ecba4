//! The `parrot-load` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    parrot_load::program::run()
}
