//! `cargo xtask torture ARGS`: builds the release server and the suite of real faults, then becomes the suite.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cargo;

pub(crate) fn task(mut arguments: Vec<OsString>) -> Result<()> {
    if arguments.first().is_some_and(|first| first == "--") {
        arguments.remove(0);
    }
    let mut programs = cargo::release("parrot-cli")?;
    programs.extend(cargo::release("parrot-torture")?);
    let program = |name: &str| {
        let found = programs.iter().find(|program| program.ends_with(name));
        found.with_context(|| format!("cargo built {name} and did not say where it is"))
    };
    let (server, suite) = (program("parrot")?, program("parrot-torture")?);
    let target =
        suite.parent().and_then(Path::parent).context("a program is in a directory of the target directory")?;
    let mut command = Command::new(suite);
    command.arg("--server").arg(server).arg("--output").arg(target.join("torture")).args(arguments);
    let error = command.exec();
    Err(error).with_context(|| format!("cannot become {}", suite.display()))
}
