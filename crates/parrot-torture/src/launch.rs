//! How a scenario starts its server: the command line, the limit of descriptors, the log and the injected faults.

use std::fs::File;
use std::path::{Path, PathBuf, absolute};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use parrot_testkit::parrot::{Parrot, isolated};
use parrot_testkit::process::Process;

use crate::machine::STRACE;
use crate::server::Server;

/// Where the messages are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    Off,
    /// To a file in the scenario's folder.
    File,
    /// To a file that exists already, such as a device.
    Device(&'static str),
    /// To stdout, which is a pipe that the scenario reads when it wants to.
    Pipe,
    /// To a file on a disk of 64 KiB that only the server sees. This needs Linux and permission to make namespaces.
    TinyDisk,
}

/// How to start the server.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) folder: &'a Path,
    pub(crate) arguments: &'a [&'a str],
    pub(crate) descriptors: Option<u32>,
    pub(crate) log: Log,
    /// Faults that strace injects, in the words of its option `-e inject=`.
    pub(crate) inject: &'a [&'a str],
}

impl Launch<'_> {
    /// The name of a log file in the folder.
    pub(crate) const LOG: &'static str = "messages.log";

    /// The file in the folder that keeps what the server printed on stderr.
    pub(crate) const STDERR: &'static str = "server.stderr";

    /// The file in the folder where strace reports calls that failed.
    pub(crate) const FAULTS: &'static str = "faults.strace";

    /// Starts the server and waits until it listens.
    pub(crate) fn start(&self) -> Result<Server> {
        // Both acts of a scenario append to one file, which remains when one of them fails.
        let path = self.folder.join(Self::STDERR);
        let copy = File::options().create(true).append(true).open(&path);
        let copy = copy.with_context(|| format!("cannot open {}", path.display()))?;
        let process = Process::spawn_with_copy(&mut self.command()?, copy)?;
        Ok(Server::new(Parrot::when_listening(process)?, self.log_path(), self.log == Log::File))
    }

    fn log_path(&self) -> Option<PathBuf> {
        match self.log {
            Log::Off | Log::Pipe => None,
            Log::File => Some(self.folder.join(Self::LOG)),
            Log::Device(path) => Some(path.into()),
            Log::TinyDisk => Some(self.folder.join("disk").join(Self::LOG)),
        }
    }

    fn command(&self) -> Result<Command> {
        // Each program of the chain replaces itself by the next, so the process id becomes the server's.
        let mut script = String::new();
        if let Some(limit) = self.descriptors {
            script.push_str(&format!("ulimit -n {limit} && "));
        }
        if self.log == Log::TinyDisk {
            std::fs::create_dir_all(self.folder.join("disk"))?;
            script.push_str("mount -t tmpfs -o size=64k tmpfs disk && ");
        }
        script.push_str("exec \"$@\"");
        let mut command = Command::new(if self.log == Log::TinyDisk { "unshare" } else { "sh" });
        if self.log == Log::TinyDisk {
            command.args(["--map-root-user", "--mount", "sh"]);
        }
        command.args(["-c", &script, "sh"]);
        let log = self.log_path().map(absolute).transpose()?;
        if !self.inject.is_empty() {
            command.arg("strace").args(STRACE).args(["-o", Self::FAULTS]);
            if let (Log::File, Some(log)) = (self.log, &log) {
                // Only writes to the log fail, not those to stderr.
                command.arg("-P").arg(log);
            }
            command.args(self.inject.iter().map(|fault| format!("--inject={fault}")));
        }
        command.arg(absolute(self.binary)?);
        command.args(["--port", "0", "--bind", "127.0.0.1", "--drain-timeout", "1s"]).args(self.arguments);
        match log {
            Some(log) => drop(command.arg("--log-file").arg(log)),
            None if self.log == Log::Off => drop(command.args(["--log", "off"])),
            None => {}
        }
        let mut command = isolated(command);
        command.current_dir(self.folder);
        if self.log == Log::Pipe {
            command.stdout(Stdio::piped());
        }
        Ok(command)
    }
}
