//! `cargo xtask run -- ARGS`: builds the release server and becomes it, so that signals and the exit code are its own.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cargo, wrong_usage};

pub(crate) fn task(mut arguments: Vec<OsString>) -> Result<()> {
    match arguments.first() {
        Some(separator) if separator == "--" => drop(arguments.remove(0)),
        Some(_) => {
            let arguments = arguments.join(" ".as_ref());
            let advice = format!("the server's own arguments follow `--`: cargo xtask run -- {}", arguments.display());
            return Err(wrong_usage(advice));
        }
        None => {}
    }
    let programs = cargo::release("parrot-cli")?;
    let server = programs.first().context("cargo built the server and did not say where it is")?;
    let error = Command::new(server).args(arguments).exec();
    Err(error).with_context(|| format!("cannot become {}", server.display()))
}
