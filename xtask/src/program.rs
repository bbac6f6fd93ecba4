//! Starting a program that cargo built in place of this one.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The program called `name` among those that cargo built.
pub(crate) fn find<'a>(programs: &'a [PathBuf], name: &str) -> Result<&'a Path> {
    let program = programs.iter().find(|program| program.ends_with(name));
    program.map(PathBuf::as_path).with_context(|| format!("cargo did not report where it built {name}"))
}

/// Replaces this process by `program`, so that signals and the exit code are the program's own.
pub(crate) fn become_program(program: &mut Command) -> Result<()> {
    let error = program.exec();
    Err(error).with_context(|| format!("cannot start {}", program.get_program().display()))
}

/// The arguments for the program: all but a leading `--`, as `cargo run` has it.
pub(crate) fn passed_on(mut arguments: Vec<OsString>) -> Vec<OsString> {
    if arguments.first().is_some_and(|first| first == "--") {
        arguments.remove(0);
    }
    arguments
}
