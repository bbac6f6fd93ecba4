//! Calls of tools that may not be installed.

use std::process::{Command, Output};

/// What `tool` does with `arguments`, or nothing if it is not installed.
pub(crate) fn run(tool: &str, arguments: &[&str]) -> Option<Output> {
    run_with(tool, arguments, &[])
}

/// Like [`run`], with further environment variables.
pub(crate) fn run_with(tool: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Option<Output> {
    let output = Command::new(tool).args(arguments).envs(environment.iter().copied()).output();
    output.inspect_err(|error| eprintln!("SKIPPED: {tool} cannot be started ({error})")).ok()
}

/// Both outputs of a tool that has to succeed.
pub(crate) fn printed(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}
