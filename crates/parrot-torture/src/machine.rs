//! Checks whether this machine has the tools that a scenario needs, and makes networks for scenarios.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::scenario::{Log, Network, Scenario};

/// Options of strace for every scenario with injected faults. With -D strace becomes a grandchild, and the server
/// remains our child.
pub(crate) const STRACE: &[&str] = &["-D", "-f", "-q", "-Z", "-e", "signal=none"];

/// Why a scenario cannot run here, if it cannot. `room` is how many connections the suite may have open.
pub(crate) fn missing(scenario: &Scenario, room: usize) -> Option<String> {
    let linux = cfg!(target_os = "linux");
    if let Some(limit) = scenario.descriptors
        && room < 2 * limit as usize
    {
        return Some(format!("the suite may have {room} connections, too few to use up {limit} descriptors"));
    }
    if !scenario.inject.is_empty() {
        if !linux {
            return Some("failing system calls are injected on Linux only".to_owned());
        }
        let faults = scenario.inject.iter().map(|fault| format!("--inject={fault}"));
        let mut strace = Command::new("strace");
        strace.args(STRACE).args(["-o", "/dev/null"]).args(faults).arg("true").stdin(Stdio::null());
        match strace.output() {
            Err(error) => return Some(format!("cannot start strace: {error}")),
            Ok(output) if !output.status.success() => {
                let stderr = String::from_utf8_lossy(&output.stderr);
                let reason = stderr.lines().next().unwrap_or("no reason given").to_owned();
                return Some(format!("strace cannot inject these faults here: {reason}"));
            }
            Ok(_) => {}
        }
    }
    if scenario.log == Log::TinyDisk {
        let mount = ["--map-root-user", "--mount", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/tmp"];
        if !linux || !works("unshare", &mount) {
            return Some("a small disk needs Linux and permission to make namespaces".to_owned());
        }
    }
    if let Log::Device(path) = scenario.log
        && !Path::new(path).exists()
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

/// Moves this thread into a network namespace of its own and makes the first of these networks that can be made there.
/// Returns its name.
pub(crate) fn enter_network(networks: &[Network]) -> Result<&'static str> {
    own_network()?;
    let mut failures = Vec::new();
    for network in networks {
        match network.commands.iter().try_for_each(|command| run(command)) {
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
    Err(anyhow!("a network of its own needs Linux"))
}

fn run(command: &str) -> Result<()> {
    let output = Command::new("sh").args(["-c", command]).output().context("cannot start a shell")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{command}` fails here: {}", stderr.trim());
    Ok(())
}
