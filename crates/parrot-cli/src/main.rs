//! The `parrot` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    parrot_cli::run()
}
