//! --check: whether parrot would start, found out without disturbing one that runs.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use parrot_server::{Listen, LocalAddress, Server};
use rustix::fs::{Access, access};

use crate::arguments::Arguments;
use crate::settings::config;
use crate::{admin, advice, listening};

/// Looks at everything that a start needs. The options themselves are right, or they could not have been read.
///
/// # Errors
///
/// What would keep parrot from starting.
pub(crate) fn run(arguments: &Arguments, sockets: Vec<Listen>) -> Result<ExitCode> {
    let passed = !sockets.is_empty();
    let places = listening::places(arguments, passed)?.into_iter().map(|(_, listen)| listen);
    let listen: Vec<Listen> = sockets.into_iter().chain(places).chain(admin::listen(arguments)?).collect();
    let in_use = Server::check(&config(arguments, listen)?).map_err(advice::cannot_bind)?;
    if let Some(path) = &arguments.log_file {
        can_append(path).map_err(|error| advice::cannot_log(error, Some(path)))?;
    }
    if let Some(path) = &arguments.ready_file {
        can_replace(path).map_err(|error| advice::cannot_write_ready_file(error, path))?;
    }
    let mut said = "parrot would start".to_owned();
    if !in_use.is_empty() {
        let places: Vec<String> = in_use.iter().map(LocalAddress::to_string).collect();
        let places = places.join(", ");
        said += &match arguments.reuse_port {
            true => format!(", unless {places} is taken by a program that does not share it"),
            false => format!(", once nothing else listens on {places}"),
        };
    }
    // A reader that leaves is not a reason not to start.
    let _ = writeln!(io::stdout(), "{said}");
    Ok(ExitCode::SUCCESS)
}

/// Whether a file can be appended to or made. A pipe or a device is left alone, because its reader would notice.
fn can_append(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => OpenOptions::new().append(true).open(path).map(drop),
        Ok(found) if found.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => can_make(path),
        Err(error) => Err(error),
    }
}

/// Whether a file can be made, or can take the place of a regular file.
fn can_replace(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => {
            Err(io::Error::new(ErrorKind::AlreadyExists, "it exists and is not a regular file"))
        }
        _ => can_make(path),
    }
}

/// Whether the directory of a file is there, and files may be made in it.
fn can_make(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The dot makes a file an error.
    Ok(access(parent.join("."), Access::WRITE_OK | Access::EXEC_OK)?)
}
