//! `cargo xtask ci`: everything that must hold before a change lands, the quickest answers first.

use std::ffi::OsString;

use anyhow::Result;

use crate::cargo::cargo;
use crate::{rules, steps, wrong_usage};

pub(crate) fn task(arguments: Vec<OsString>) -> Result<()> {
    if let Some(argument) = arguments.first() {
        return Err(wrong_usage(format!("ci takes no argument, and was given {}", argument.display())));
    }
    let mut fmt = cargo("fmt");
    fmt.args(["--all", "--check"]);
    let mut clippy = cargo("clippy");
    clippy.args(["--workspace", "--all-targets", "--", "-D", "warnings"]);
    let mut test = cargo("test");
    test.arg("--workspace");
    let mut doc = cargo("doc");
    doc.args(["--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");

    steps::command(fmt)?;
    steps::step("dependency rules", rules::check)?;
    steps::command(clippy)?;
    steps::command(test)?;
    steps::command(doc)
}
