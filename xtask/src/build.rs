//! `cargo xtask build` builds the release binaries and prints where they are.

use anyhow::Result;

use crate::cargo;
use crate::say::say;

/// The packages with programs for users. Other tasks build what only they run.
pub(crate) const PACKAGES: [&str; 2] = ["parrot-cli", "parrot-load"];

pub(crate) fn task() -> Result<()> {
    for package in PACKAGES {
        for program in cargo::release(package)? {
            say(program.display())?;
        }
    }
    Ok(())
}
