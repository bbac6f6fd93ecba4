//! The time that files in packages bear, so that two builds of one commit give the same bytes.

use std::env;
use std::process::Command;

use anyhow::{Context, Result};
use jiff::Timestamp;

/// `SOURCE_DATE_EPOCH`, which tools that make packages read too, or else the time of the last commit.
///
/// # Errors
///
/// The variable is no time, or it is not set and there is no commit.
///
/// <https://reproducible-builds.org/specs/source-date-epoch/>
pub(crate) fn source_date() -> Result<Timestamp> {
    let seconds = match env::var("SOURCE_DATE_EPOCH") {
        Ok(seconds) => seconds,
        Err(_) => last_commit().context("set SOURCE_DATE_EPOCH, because git knows no last commit")?,
    };
    let seconds = seconds.trim().parse().with_context(|| format!("SOURCE_DATE_EPOCH={seconds} is no number"))?;
    Timestamp::from_second(seconds).context("SOURCE_DATE_EPOCH is out of range")
}

fn last_commit() -> Result<String> {
    let directory = env!("CARGO_MANIFEST_DIR");
    let output = Command::new("git").args(["-C", directory, "log", "-1", "--format=%ct"]).output()?;
    anyhow::ensure!(output.status.success(), "git log failed");
    Ok(String::from_utf8(output.stdout)?)
}
