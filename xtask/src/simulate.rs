//! `cargo xtask simulate ARGS`: builds the simulator and becomes it; `--help` lists its arguments.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cargo;

pub(crate) fn task(arguments: Vec<OsString>) -> Result<()> {
    let programs =
        cargo::build(&["--profile", "simulate", "--package", "parrot-simulator", "--bin", "parrot-simulator"])?;
    let simulator = programs.first().context("cargo built the simulator and did not say where it is")?;
    let error = Command::new(simulator).args(arguments).exec();
    Err(error).with_context(|| format!("cannot become {}", simulator.display()))
}
