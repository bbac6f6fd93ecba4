//! Where options come from: the command line, the environment, and the file of --config.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Command, CommandFactory};

use super::config_file::ConfigFile;
use super::values::set_by_platform;
use super::{Arguments, PORT, WIDTH};

/// The command line of the process. It can be read again, because the file of --config may have changed.
#[derive(Debug, Clone)]
pub(crate) struct CommandLine {
    line: Vec<OsString>,
    /// Whether a service manager may have passed sockets.
    passed: bool,
}

impl CommandLine {
    /// The command line that this process was started with. `passed` says whether a service manager may have passed
    /// sockets.
    pub(crate) fn of_process(passed: bool) -> CommandLine {
        CommandLine { line: env::args_os().collect(), passed }
    }

    /// Reads all options. The command line wins over the environment, and that wins over the file.
    ///
    /// # Errors
    ///
    /// Wrong usage, with the place in the file if it is there. Help and the version are errors of clap too.
    pub(crate) fn read(&self) -> Result<Arguments, clap::Error> {
        let ignored = env::var(PORT).ok().and_then(|set| {
            let reason = set_by_platform(&set)?;
            Some(format!("{PORT}={set:?} is ignored, because {reason}"))
        });
        let command = command(ignored.is_some());
        let own = command.clone().try_get_matches_from(&self.line)?;
        let (matches, mut arguments) = match own.get_one::<PathBuf>("config") {
            Some(path) => ConfigFile::read(path, &command)?.with(&self.line, &own, self.passed, &command)?,
            None => {
                let arguments = Arguments::from_matches(&own, self.passed)?;
                (own, arguments)
            }
        };
        arguments.port_ignored = ignored.filter(|_| matches.value_source("port") == Some(ValueSource::DefaultValue));
        Ok(arguments)
    }
}

/// The declared options, without the environment variable for the port if that is ignored.
fn command(ignores_port: bool) -> Command {
    let mut command = Arguments::command();
    if env::var("COLUMNS").is_ok_and(|columns| columns == "0") {
        command = command.term_width(WIDTH); // the terminal does not know its width
    }
    if ignores_port {
        command = command.mut_arg("port", |port| port.env(None::<&str>));
    }
    command
}
