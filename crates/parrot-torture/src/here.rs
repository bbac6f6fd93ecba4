//! What this machine allows: tools that a scenario needs, and a network of its own.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::scenario::{Network, Scenario};
use crate::server::Log;

/// Options of strace that every scenario with injected faults has. -D: strace is the grandchild, and the server keeps its
/// place as ours.
pub(crate) const STRACE: &[&str] = &["-D", "-f", "-q", "-Z", "-e", "signal=none"];

/// Why a scenario cannot run here, with so many connections of the suite's own.
pub(crate) fn missing(scenario: &Scenario, room: usize) -> Option<String> {
    let linux = cfg!(target_os = "linux");
    if let Some(limit) = scenario.descriptors
        && room < 2 * limit as usize
    {
        return Some(format!(
            "{limit} descriptors are not exhausted by the {room} connections that this suite may have"
        ));
    }
    if !scenario.inject.is_empty() {
        if !linux {
            return Some("failing system calls are injected on Linux only".to_owned());
        }
        let faults = scenario.inject.iter().map(|fault| format!("--inject={fault}"));
        let mut strace = Command::new("strace");
        strace.args(STRACE).args(["-o", "/dev/null"]).args(faults).arg("true").stdin(Stdio::null());
        match strace.output() {
            Err(error) => return Some(format!("strace cannot be started ({error})")),
            Ok(output) if !output.status.success() => {
                let words = String::from_utf8_lossy(&output.stderr);
                let word = words.lines().next().unwrap_or("without a word").to_owned();
                return Some(format!("strace cannot inject these faults here: {word}"));
            }
            Ok(_) => {}
        }
    }
    if scenario.log == Log::TinyDisk {
        let mount = ["--map-root-user", "--mount", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/tmp"];
        if !linux || !works("unshare", &mount) {
            return Some("a small disk of its own needs Linux, and leave to make namespaces".to_owned());
        }
    }
    if let Log::Device(path) = scenario.log
        && !std::path::Path::new(path).exists()
    {
        return Some(format!("there is no {path} here"));
    }
    None
}

fn works(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Moves this thread into a network namespace of its own, and makes the first of these networks there that can be made.
/// Says which.
pub(crate) fn enter_network(networks: &[Network]) -> Result<&'static str> {
    own_network()?;
    let mut failures = Vec::new();
    for network in networks {
        match make_network(network.commands) {
            Ok(()) => return Ok(network.name),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    Err(anyhow!(failures.join("; ")))
}

#[cfg(target_os = "linux")]
fn own_network() -> Result<()> {
    use nix::sched::{CloneFlags, unshare};

    unshare(CloneFlags::CLONE_NEWNET).context("a network of its own needs root")
}

#[cfg(not(target_os = "linux"))]
fn own_network() -> Result<()> {
    bail!("networks of their own are for Linux only")
}

fn make_network(commands: &[&[&str]]) -> Result<()> {
    for command in commands {
        let Some((program, arguments)) = command.split_first() else { continue };
        let shown = command.join(" ");
        let output = Command::new(program).args(arguments).output();
        let output = output.with_context(|| format!("`{shown}` cannot be started"))?;
        if !output.status.success() {
            bail!("`{shown}` does not work here: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    Ok(())
}
