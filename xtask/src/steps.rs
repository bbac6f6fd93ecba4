//! Runs the steps of a task. Each prints what it runs and how long it took, and the first failure ends the task.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::cargo::shown;
use crate::say::warn;

/// Runs `command` as a step.
pub(crate) fn command(mut command: Command) -> Result<()> {
    let name = shown(&command);
    step(&name, || {
        let status = command.status().context("cannot start cargo")?;
        if !status.success() {
            bail!("{name} failed ({status}); see its output above");
        }
        Ok(())
    })
}

/// Runs `work` as a step called `name`.
pub(crate) fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    warn(format_args!("== {name}"));
    let start = Instant::now();
    work()?;
    warn(format_args!("== {name}: {:.1} s", start.elapsed().as_secs_f64()));
    Ok(())
}
