//! Manual pages, shell completions and packages of Parrot. `cargo xtask man` and `cargo xtask dist` start this program.

mod archive;
mod completions;
mod epoch;
mod image;
mod manual;
mod packages;
mod release;
mod tools;
mod tree;

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Command, Parser};

use crate::manual::Manual;
use crate::release::Release;

/// Write Parrot's manual pages and completions, or its packages.
#[derive(Debug, Parser)]
#[command(version)]
enum Task {
    /// Write manual pages and shell completions to a directory, as they are below share/
    Man {
        /// The directory
        output: PathBuf,
    },
    /// Write packages and their checksums to a directory
    Packages {
        /// The directory
        #[arg(long)]
        output: PathBuf,
        /// The programs to pack
        #[arg(required = true)]
        programs: Vec<PathBuf>,
    },
}

/// The programs with their command lines and the further sections of their manuals.
fn programs() -> [(Command, Manual); 2] {
    use parrot_cli::manual as server;
    use parrot_load::program::manual as load;
    [
        (server::command(), Manual { purpose: server::PURPOSE, sections: server::SECTIONS }),
        (load::command(), Manual { purpose: load::PURPOSE, sections: load::SECTIONS }),
    ]
}

fn main() -> ExitCode {
    let outcome = match Task::parse() {
        Task::Man { output } => write_manuals(&output),
        Task::Packages { output, programs } => {
            Release::read(&programs).and_then(|release| packages::write(&release, &output))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            warn(format_args!("parrot-dist: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn write_manuals(output: &Path) -> Result<()> {
    let date = epoch::source_date()?.strftime("%Y-%m-%d").to_string();
    for entry in tree::manuals(&date)? {
        write(&output.join(&entry.path), &entry.contents)?;
    }
    Ok(())
}

/// Writes a file, and makes its directory.
fn write(path: &Path, contents: &[u8]) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    std::fs::create_dir_all(path.parent().context("a file needs a directory")?).with_context(cannot)?;
    std::fs::write(path, contents).with_context(cannot)
}

/// Writes a line to standard output. A closed pipe is no error.
fn say(line: impl Display) -> Result<()> {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// Writes a line to standard error, and ignores whether that works.
fn warn(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
