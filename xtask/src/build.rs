//! `cargo xtask build`: the release binaries, and where they are.

use std::ffi::OsString;

use anyhow::{Result, bail};

use crate::cargo;

pub(crate) fn task(arguments: Vec<OsString>) -> Result<()> {
    if let Some(argument) = arguments.first() {
        bail!("build takes no argument, and was given {}", argument.display());
    }
    let programs = cargo::build(&[
        "--release",
        "--workspace",
        "--exclude",
        "xtask",
        "--exclude",
        "parrot-peers",
        "--exclude",
        "parrot-bench",
        "--exclude",
        "parrot-torture",
        "--bins",
    ])?;
    for program in programs {
        println!("{}", program.display());
    }
    Ok(())
}
