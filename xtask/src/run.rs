//! `cargo xtask run -- ARGS`: builds the release server and becomes it, so that signals and the exit code are its own.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo;

pub(crate) fn task(mut arguments: Vec<OsString>) -> Result<()> {
    match arguments.first() {
        Some(separator) if separator == "--" => drop(arguments.remove(0)),
        Some(argument) => bail!("the server's own arguments follow `--`: cargo xtask run -- {}", argument.display()),
        None => {}
    }
    let programs = cargo::build(&["--release", "--package", "parrot-cli", "--bin", "parrot"])?;
    let server = programs.first().context("cargo built the server and did not say where it is")?;
    let error = Command::new(server).args(arguments).exec();
    Err(error).with_context(|| format!("cannot become {}", server.display()))
}
