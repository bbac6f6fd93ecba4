//! `cargo xtask dist` builds the release programs and packs them for every system that this machine can pack for.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::{build, cargo, program};

pub(crate) fn task() -> Result<()> {
    let mut command = Command::new(program::find(&cargo::build(&["--package", "parrot-dist"])?, "parrot-dist")?);
    command.arg("packages").arg("--output").arg(cargo::root().join("target/dist"));
    let flags = flags()?;
    for package in build::PACKAGES {
        command.args(cargo::release_with(package, &["--config", &flags])?);
    }
    program::become_program(&mut command)
}

/// Flags for the compiler that make a program smaller, and the same wherever it is built.
///
/// Names of functions serve debuggers and profilers. Paths of source files are in messages of panics. The setting of the
/// profile for the first is lost for packages with a profile of their own, such as parrot-cli.
fn flags() -> Result<String> {
    let root = cargo::root().canonicalize()?;
    let mut flags = vec!["-Cstrip=symbols".to_owned(), format!("--remap-path-prefix={}=.", root.display())];
    if let Some(home) = env::home_dir().map(|home| env::var_os("CARGO_HOME").map_or(home.join(".cargo"), PathBuf::from))
    {
        flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
    }
    Ok(format!("target.'cfg(all())'.rustflags={flags:?}"))
}
