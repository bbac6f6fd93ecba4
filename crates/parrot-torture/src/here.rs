//! What this machine allows: tools that a scenario needs, and a network of its own.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::scenario::Scenario;
use crate::server::Log;

/// Why a scenario cannot run here.
pub(crate) fn missing(scenario: &Scenario) -> Option<String> {
    let linux = cfg!(target_os = "linux");
    if !scenario.inject.is_empty() {
        if !linux {
            return Some("failing system calls are injected on Linux only".to_owned());
        }
        if !works("strace", &["-D", "-f", "-o", "/dev/null", "--inject=getppid:error=EINTR", "true"]) {
            return Some("strace is not installed, or may not trace here".to_owned());
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

/// Moves this thread into a network namespace of its own, and has `commands` make the network there; where one of them
/// does not work, `otherwise` makes it, if there is such a way.
#[cfg(target_os = "linux")]
pub(crate) fn enter_network(commands: &[&[&str]], otherwise: &[&[&str]]) -> Result<()> {
    use anyhow::Context as _;
    use nix::sched::{CloneFlags, unshare};

    unshare(CloneFlags::CLONE_NEWNET).context("a network of its own needs root")?;
    match make_network(commands) {
        Err(first) if !otherwise.is_empty() => make_network(otherwise).context(first),
        outcome => outcome,
    }
}

#[cfg(target_os = "linux")]
fn make_network(commands: &[&[&str]]) -> Result<()> {
    use anyhow::{Context as _, bail};

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

#[cfg(not(target_os = "linux"))]
pub(crate) fn enter_network(_: &[&[&str]], _: &[&[&str]]) -> Result<()> {
    anyhow::bail!("networks of their own are for Linux only")
}
