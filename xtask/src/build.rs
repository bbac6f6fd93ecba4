//! `cargo xtask build`: the release binaries, and where they are.

use std::ffi::OsString;

use anyhow::Result;

use crate::{cargo, wrong_usage};

/// The packages whose programs are for people; what only other tasks run is built by those.
const PACKAGES: [&str; 2] = ["parrot-cli", "parrot-load"];

pub(crate) fn task(arguments: Vec<OsString>) -> Result<()> {
    if let Some(argument) = arguments.first() {
        return Err(wrong_usage(format!("build takes no argument, and was given {}", argument.display())));
    }
    for package in PACKAGES {
        for program in cargo::release(package)? {
            println!("{}", program.display());
        }
    }
    Ok(())
}
