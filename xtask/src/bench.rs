//! `cargo xtask bench ARGS` builds the servers and the benchmark, then becomes the benchmark.
//!
//! The benchmark is a program of its own, so that running the server does not require building what draws charts.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cargo, program};

const PACKAGES: [&str; 4] = ["parrot-cli", "parrot-load", "parrot-rivals", "parrot-bench"];

/// Options that give a profile the names of functions and stacks that perf can follow.
const READABLE: [&str; 4] =
    ["--config", "profile.release.debug=1", "--config", "build.rustflags=[\"-Cforce-frame-pointers=yes\"]"];

pub(crate) fn task(arguments: Vec<OsString>) -> Result<()> {
    let arguments = program::passed_on(arguments);
    let mut programs = Vec::new();
    for package in PACKAGES {
        programs.extend(cargo::release(package)?);
    }
    let bench = program::find(&programs, "parrot-bench")?;
    let mut directory = bench.parent().context("the benchmark has no directory")?.to_owned();
    // Without perf, the benchmark explains what to do and needs no server.
    if arguments.iter().any(|argument| argument == "--profile") && has_perf() {
        directory = readable_servers(&directory)?;
    }
    program::become_program(Command::new(bench).arg("--programs").arg(directory).args(arguments))
}

fn has_perf() -> bool {
    cfg!(target_os = "linux") && Command::new("perf").arg("--version").output().is_ok()
}

/// Builds servers that are readable in a profile, and returns their directory.
///
/// They have a target directory of their own, so that the measured ones are not built again each time.
fn readable_servers(beside: &Path) -> Result<PathBuf> {
    let target = beside.join("../profile");
    let target = target.to_str().context("the path of the target directory is not UTF-8")?;
    let mut programs = Vec::new();
    for package in ["parrot-cli", "parrot-rivals"] {
        let servers = ["--release", "--package", package, "--bins", "--target-dir", target];
        programs.extend(cargo::build(&[&servers[..], &READABLE].concat())?);
    }
    Ok(program::find(&programs, "parrot")?.parent().context("the servers have no directory")?.to_owned())
}
