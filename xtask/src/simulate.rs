//! `cargo xtask simulate ARGS` builds the simulator and becomes it.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::{cargo, program};

pub(crate) fn task(arguments: Vec<OsString>) -> Result<()> {
    let simulator = ["--profile", "simulate", "--package", "parrot-simulator", "--bin", "parrot-simulator"];
    let programs = cargo::build(&simulator)?;
    let simulator = program::find(&programs, "parrot-simulator")?;
    program::become_program(Command::new(simulator).args(program::passed_on(arguments)))
}
