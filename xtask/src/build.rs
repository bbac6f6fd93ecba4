//! `cargo xtask build`: the release binaries, and where they are.

use anyhow::Result;

use crate::cargo;
use crate::say::say;

/// The packages whose programs are for people; what only other tasks run is built by those.
const PACKAGES: [&str; 2] = ["parrot-cli", "parrot-load"];

pub(crate) fn task() -> Result<()> {
    for package in PACKAGES {
        for program in cargo::release(package)? {
            say(program.display())?;
        }
    }
    Ok(())
}
