//! `cargo xtask simulate ARGS`: builds the simulator and becomes it; `--help` lists its arguments.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cargo;

pub(crate) fn task(mut arguments: Vec<OsString>) -> Result<()> {
    if arguments.first().is_some_and(|first| first == "--") {
        arguments.remove(0); // as after `cargo run`
    }
    let programs =
        cargo::build(&["--profile", "simulate", "--package", "parrot-simulator", "--bin", "parrot-simulator"])?;
    let simulator = programs.first().context("cargo built the simulator and did not say where it is")?;
    let error = Command::new(simulator).args(arguments).exec();
    Err(error).with_context(|| format!("cannot become {}", simulator.display()))
}
