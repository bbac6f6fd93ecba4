//! What is told while it runs, on standard output: in a way that a closed pipe or a full disk does not make it panic.

use std::fmt::Display;
use std::io::{self, Write};

use anyhow::{Context, Result};

/// Writes a line.
///
/// # Errors
///
/// If it cannot be written: see [`reader_has_gone`].
pub(crate) fn say(line: impl Display) -> Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).context("cannot write to standard output")
}

/// Writes a line on standard error, where nobody may be looking.
pub(crate) fn warn(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whether an error is that nobody reads standard output any more, which is no news to anybody.
pub(crate) fn reader_has_gone(error: &anyhow::Error) -> bool {
    let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(broken))
}
