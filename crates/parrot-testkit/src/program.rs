//! A program that runs to its end: its exit code and what it printed.

use std::io::{PipeWriter, pipe};
use std::process::{Command, Output};

/// How a program ended, and what it printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// What it printed on standard output.
    pub stdout: String,
    /// What it printed on standard error.
    pub stderr: String,
}

impl Ended {
    /// Everything it printed: standard output, then standard error.
    pub fn printed(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

/// Runs the command to its end. Streams that it does not redirect are collected.
#[track_caller]
#[allow(clippy::expect_used, reason = "for tests")]
pub fn run(command: &mut Command) -> Ended {
    command.output().expect("the program can be started").into()
}

/// A pipe that nobody reads.
#[track_caller]
#[allow(clippy::expect_used, reason = "for tests")]
pub fn unread_pipe() -> PipeWriter {
    pipe().expect("the system grants a pipe").1
}
