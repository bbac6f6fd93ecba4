//! A network of its own for a test, so that interfaces, routes and ports can be what the test needs.

use std::panic::resume_unwind;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};

/// Runs `test` on a thread in a network namespace of its own.
///
/// Its loopback interface is up, and each of `commands` has been run there by a shell. Threads and programs that the test
/// starts are in the same network. Where that is not possible, the test is skipped with a note. It needs root on Linux.
pub fn alone(commands: &[&str], test: impl FnOnce() + Send) {
    let inside = || -> Result<()> {
        enter()?;
        ["ip link set lo up"].iter().chain(commands).try_for_each(|command| shell(command))?;
        test();
        Ok(())
    };
    match thread::scope(|scope| scope.spawn(inside).join()) {
        Ok(Ok(())) => {}
        Ok(Err(reason)) => eprintln!("SKIPPED: {reason:#}"),
        Err(panic) => resume_unwind(panic),
    }
}

/// Commands that make two interfaces, `here` and `there`, which are connected and have the same link-local address.
pub const PAIR: [&str; 4] = [
    "ip link add here type veth peer name there",
    "ip link set here up && ip link set there up",
    "ip address add fe80::7/64 dev here nodad",
    "ip address add fe80::7/64 dev there nodad",
];

/// The number of an interface in the network of this thread.
#[allow(clippy::unwrap_used, reason = "for tests")]
pub fn number_of(interface: &str) -> u32 {
    let shown = Command::new("ip").args(["-oneline", "link", "show", interface]).output().unwrap().stdout;
    String::from_utf8(shown).unwrap().split(':').next().unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
fn enter() -> Result<()> {
    use nix::sched::{CloneFlags, unshare};

    unshare(CloneFlags::CLONE_NEWNET).context("a network of its own needs root")
}

#[cfg(not(target_os = "linux"))]
fn enter() -> Result<()> {
    anyhow::bail!("a network of its own needs Linux")
}

fn shell(command: &str) -> Result<()> {
    let output = Command::new("sh").args(["-c", command]).output().context("cannot start a shell")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{command}` fails here: {}", stderr.trim());
    Ok(())
}
