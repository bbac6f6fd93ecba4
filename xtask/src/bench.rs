//! `cargo xtask bench ARGS`: builds the servers and the benchmark, then becomes the benchmark.
//!
//! The benchmark is a program of its own, so that who only runs the server does not build what draws charts.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cargo;

/// The servers, and who measures them.
const PACKAGES: [&str; 3] = ["parrot-cli", "parrot-rivals", "parrot-bench"];

/// For a profile: names of functions, and stacks that perf can follow.
const READABLE: [&str; 4] =
    ["--config", "profile.release.debug=1", "--config", "build.rustflags=[\"-Cforce-frame-pointers=yes\"]"];

pub(crate) fn task(mut arguments: Vec<OsString>) -> Result<()> {
    if arguments.first().is_some_and(|first| first == "--") {
        arguments.remove(0);
    }
    let mut programs = Vec::new();
    for package in PACKAGES {
        programs.extend(cargo::release(package)?);
    }
    let bench = programs.iter().find(|program| program.ends_with("parrot-bench"));
    let bench = bench.context("cargo built the benchmark and did not say where it is")?;
    let mut directory = bench.parent().context("a program is in a directory")?.to_owned();
    // Where there is no perf the benchmark says what to do, and needs no server.
    if arguments.iter().any(|argument| argument == "--profile") && has_perf() {
        directory = readable_server(&directory)?;
    }
    let error = Command::new(bench).arg("--programs").arg(directory).args(arguments).exec();
    Err(error).with_context(|| format!("cannot become {}", bench.display()))
}

fn has_perf() -> bool {
    cfg!(target_os = "linux") && Command::new("perf").arg("--version").output().is_ok()
}

/// Builds a server that a profile can name, beside the one that is measured, and says in which directory it is.
fn readable_server(beside: &Path) -> Result<std::path::PathBuf> {
    let target = beside.join("../profile");
    let target = target.to_str().context("the path of the target directory is not UTF-8")?;
    let server = ["--release", "-p", "parrot-cli", "--bin", "parrot", "--target-dir", target];
    let programs = cargo::build(&[&server[..], &READABLE].concat())?;
    let parent = programs.first().and_then(|program| program.parent());
    Ok(parent.context("cargo built the server and did not say where it is")?.to_owned())
}
