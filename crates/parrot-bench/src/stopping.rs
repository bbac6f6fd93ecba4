//! Stops servers, so that they take no time from the one that is measured, and lets them go on.

use anyhow::{Context, Result};
use parrot_testkit::wait_for;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::account;

/// Stops the processes `started` and the group that the first of them leads, and waits until none of them runs.
///
/// # Errors
///
/// If the group is gone, or a process goes on for half a minute.
pub(crate) fn stop(started: &[u32]) -> Result<()> {
    kill_process_group(leader(started)?, Signal::STOP).context("cannot stop a server")?;
    for id in account::group(started) {
        wait_for("a server stops", || Ok(rests(id)?.then_some(())))?;
    }
    Ok(())
}

/// Lets the group go on that the first of `started` leads.
///
/// # Errors
///
/// If the group is gone.
pub(crate) fn go_on(started: &[u32]) -> Result<()> {
    kill_process_group(leader(started)?, Signal::CONT).context("cannot let a server go on")
}

fn leader(started: &[u32]) -> Result<Pid> {
    let id = started.first().copied().context("a server without a process")?;
    i32::try_from(id).ok().and_then(Pid::from_raw).context("a process without a number")
}

/// Whether no thread of process `id` runs, because it has stopped or ended.
///
/// The threads of a process stop one after the other, and each has a state of its own (proc_pid_stat(5)).
#[cfg(target_os = "linux")]
fn rests(id: u32) -> Result<bool> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{id}/task")) else { return Ok(true) };
    let rests = |stat: &[u8]| account::field(stat, 3).is_none_or(|state| ["T", "t", "Z", "X"].contains(&state));
    // A thread that has ended in the meantime has no file any more.
    let stat = |thread: std::fs::DirEntry| std::fs::read(thread.path().join("stat")).ok();
    Ok(threads.flatten().filter_map(stat).all(|stat| rests(&stat)))
}

/// Whether our child `id` has stopped or ended. Each stop is reported once, when all threads have stopped (waitpid(2)).
///
/// If it has ended, this reaps it.
#[cfg(not(target_os = "linux"))]
fn rests(id: u32) -> Result<bool> {
    use rustix::process::{WaitOptions, waitpid};
    Ok(waitpid(Some(leader(&[id])?), WaitOptions::UNTRACED | WaitOptions::NOHANG)?.is_some())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_stopped_group_does_nothing_until_it_goes_on() {
        let mut shell = Command::new("sh");
        // The shell waits while its child counts.
        let count = "(while :; do echo; done) & wait";
        let shell = shell.args(["-c", count]).process_group(0).stdout(Stdio::piped()).spawn();
        let mut shell = shell.expect("a shell");
        let mut lines = BufReader::new(shell.stdout.take().expect("a pipe")).lines();
        assert!(lines.next().is_some(), "the child counts");
        stop(&[shell.id()]).expect("a group that stops");
        #[cfg(target_os = "linux")]
        {
            let group = account::group(&[shell.id()]);
            let used = || account::Used::read(group.iter().copied());
            let before = used();
            assert!(group.len() == 2 && group.iter().all(|id| rests(*id).expect("a state")));
            assert_eq!(used().since(&before), Some(std::time::Duration::ZERO));
        }
        go_on(&[shell.id()]).expect("a group that goes on");
        // More than a pipe holds, so these lines were not all written before the stop.
        assert_eq!(lines.take(1 << 17).count(), 1 << 17);
        kill_process_group(leader(&[shell.id()]).expect("a number"), Signal::KILL).expect("its end");
        shell.wait().expect("its end");
    }

    #[test]
    fn a_group_that_is_gone_cannot_be_stopped() {
        let mut gone = Command::new("true").process_group(0).spawn().expect("a process");
        gone.wait().expect("its end");
        assert!(stop(&[gone.id()]).is_err());
    }
}
