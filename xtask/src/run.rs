//! `cargo xtask run -- ARGS` builds the release server and becomes it.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::usage::WrongUsage;
use crate::{cargo, program};

pub(crate) fn task(arguments: Vec<OsString>) -> Result<()> {
    if arguments.first().is_some_and(|first| first != "--") {
        let arguments = arguments.join(" ".as_ref());
        let advice = format!("put the server's arguments after `--`: cargo xtask run -- {}", arguments.display());
        return Err(WrongUsage(advice).into());
    }
    let programs = cargo::release("parrot-cli")?;
    program::become_program(Command::new(program::find(&programs, "parrot")?).args(program::passed_on(arguments)))
}
