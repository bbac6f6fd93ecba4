//! `cargo xtask torture ARGS` builds the release server and the torture suite, then becomes the suite.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cargo, program};

pub(crate) fn task(arguments: Vec<OsString>) -> Result<()> {
    let mut programs = cargo::release("parrot-cli")?;
    programs.extend(cargo::release("parrot-torture")?);
    let (server, suite) = (program::find(&programs, "parrot")?, program::find(&programs, "parrot-torture")?);
    let target = suite.parent().and_then(Path::parent).context("the suite is not in a target directory")?;
    let mut command = Command::new(suite);
    command.arg("--server").arg(server).arg("--output").arg(target.join("torture"));
    program::become_program(command.args(program::passed_on(arguments)))
}
