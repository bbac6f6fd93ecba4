//! `cargo xtask man DIRECTORY` writes manual pages and shell completions.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::{cargo, program};

pub(crate) fn task(arguments: Vec<OsString>) -> Result<()> {
    let programs = cargo::build(&["--package", "parrot-dist"])?;
    let mut command = Command::new(program::find(&programs, "parrot-dist")?);
    program::become_program(command.arg("man").args(program::passed_on(arguments)))
}
