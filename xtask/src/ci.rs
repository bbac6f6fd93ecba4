//! `cargo xtask ci` checks everything that must hold before a change lands, with the quickest checks first.

use anyhow::Result;

use crate::cargo::cargo;
use crate::{rules, steps};

pub(crate) fn task() -> Result<()> {
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
