//! How a scenario starts its server: the command line, the limit of descriptors, the log and the injected faults.

use std::fs::File;
use std::path::{Path, absolute};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use parrot_testkit::parrot::{Parrot, isolated};
use parrot_testkit::process::Process;

use crate::machine::STRACE;
use crate::scenario::{Log, Scenario};
use crate::server::Server;

/// The file in the scenario's folder that keeps what the server printed on stderr.
pub(crate) const STDERR: &str = "server.stderr";

/// The file in the scenario's folder where strace reports calls that failed.
pub(crate) const FAULTS: &str = "faults.strace";

/// Starts the server of a scenario and waits until it listens.
pub(crate) fn start(binary: &Path, folder: &Path, scenario: &Scenario) -> Result<Server> {
    let log = match scenario.log {
        Log::Off | Log::Pipe => None,
        Log::File => Some(absolute(folder.join("messages.log"))?),
        Log::Device(path) => Some(path.into()),
        Log::TinyDisk => Some(absolute(folder.join("disk/messages.log"))?),
    };
    // Both acts of a scenario append to one file, which remains when one of them fails.
    let path = folder.join(STDERR);
    let copy = File::options().create(true).append(true).open(&path);
    let copy = copy.with_context(|| format!("cannot open {}", path.display()))?;
    let process = Process::spawn_with_copy(&mut command(binary, folder, scenario, log.as_deref())?, copy)?;
    Ok(Server::new(Parrot::when_listening(process)?, log, scenario.log == Log::File))
}

fn command(binary: &Path, folder: &Path, scenario: &Scenario, log: Option<&Path>) -> Result<Command> {
    let Scenario { arguments, descriptors, inject, .. } = scenario;
    let tiny_disk = scenario.log == Log::TinyDisk;
    // Each program of the chain replaces itself by the next, so the process id becomes the server's.
    let mut script = String::new();
    if let Some(limit) = descriptors {
        script.push_str(&format!("ulimit -n {limit} && "));
    }
    if tiny_disk {
        std::fs::create_dir_all(folder.join("disk"))?;
        script.push_str("mount -t tmpfs -o size=64k tmpfs disk && ");
    }
    script.push_str("exec \"$@\"");
    let mut command = Command::new(if tiny_disk { "unshare" } else { "sh" });
    if tiny_disk {
        command.args(["--map-root-user", "--mount", "sh"]);
    }
    command.args(["-c", &script, "sh"]);
    if !inject.is_empty() {
        command.arg("strace").args(STRACE).args(["-o", FAULTS]);
        if let (Log::File, Some(log)) = (scenario.log, log) {
            // Only writes to the log fail, not those to stderr.
            command.arg("-P").arg(log);
        }
        command.args(inject.iter().map(|fault| format!("--inject={fault}")));
    }
    command.arg(absolute(binary)?);
    command.args(["--port", "0", "--bind", "127.0.0.1", "--drain-timeout", "1s"]).args(*arguments);
    if let Some(log) = log {
        command.arg("--log-file").arg(log);
    } else if scenario.log == Log::Off {
        command.args(["--log", "off"]);
    }
    let mut command = isolated(command);
    command.current_dir(folder);
    if scenario.log == Log::Pipe {
        command.stdout(Stdio::piped());
    }
    Ok(command)
}
