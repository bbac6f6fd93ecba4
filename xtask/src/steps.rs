//! Steps of a task: each says what it runs and how long it took, and the first failure ends the task.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::cargo::shown;
use crate::say::tell;

/// Runs `command` as a step.
pub(crate) fn command(mut command: Command) -> Result<()> {
    let name = shown(&command);
    step(&name, || {
        let status = command.status().context("cannot start cargo")?;
        if !status.success() {
            bail!("{name} failed ({status}): what it printed above says why");
        }
        Ok(())
    })
}

/// Runs `work` as a step called `name`.
pub(crate) fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    tell(format_args!("== {name}"));
    let start = Instant::now();
    work()?;
    tell(format_args!("== {name}: {:.1} s", start.elapsed().as_secs_f64()));
    Ok(())
}
