//! A program that runs: started, signalled, read and waited for.

use std::io::{self, BufRead as _, BufReader, Write};
use std::ops::Deref;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::patience::wait_for;

/// A running program. It is killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    handle: Handle,
    reader: JoinHandle<()>,
}

/// A handle to a running program, for any thread.
#[derive(Debug, Clone)]
pub struct Handle {
    pid: Pid,
    stderr: Arc<Mutex<String>>,
}

impl Process {
    /// Starts the command and reads its standard error from then on.
    pub fn spawn(command: &mut Command) -> Result<Process> {
        Process::spawn_with_copy(command, io::sink())
    }

    /// Starts the command, reads its standard error from then on, and writes a copy of that to `copy`.
    pub fn spawn_with_copy(command: &mut Command, mut copy: impl Write + Send + 'static) -> Result<Process> {
        let child = command.stderr(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let mut lines = BufReader::new(child.stderr.take().context("standard error is a pipe")?);
        let handle = Handle { pid: Pid::from_child(&child), stderr: Arc::default() };
        let printer = handle.clone();
        let reader = thread::spawn(move || {
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let _ = copy.write_all(&line);
                printer.printed().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Ok(Process { child, handle, reader })
    }

    /// A handle for another thread.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Its standard output, the first time, if the command has a pipe for it.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("cannot see whether a process has ended")
    }

    /// Stops it until SIGCONT, and waits until it has stopped.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        let stopped = waitpid(Some(self.pid()), WaitOptions::UNTRACED).context("cannot wait for a process to stop")?;
        ensure!(stopped.is_some_and(|(_, status)| status.stopped()), "a process ended in place of stopping");
        Ok(())
    }

    /// Waits for its end, and for that of its standard error.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let ended = wait_for("the end of a process", || Ok(self.ended()?.filter(|_| self.reader.is_finished())));
        ended.with_context(|| format!("it has printed:\n{}", self.stderr()))
    }
}

impl Deref for Process {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Handle {
    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid, signal).context("cannot signal a process that has ended")
    }

    /// What it has printed on standard error so far, in whole lines.
    pub fn stderr(&self) -> String {
        self.printed().clone()
    }

    /// Waits for a line on standard error that contains `text`.
    pub fn line(&self, text: &str) -> Result<String> {
        let found = wait_for(&format!("{text:?} on standard error"), || {
            Ok(self.printed().lines().find(|line| line.contains(text)).map(str::to_owned))
        });
        found.with_context(|| format!("standard error so far:\n{}", self.stderr()))
    }

    pub(crate) fn printed(&self) -> MutexGuard<'_, String> {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same program and arguments under a limit in the words of the shell's `ulimit`, such as `-n 16`. The environment
/// and the streams of `command` are not taken over.
pub fn limited(limit: &str, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")]);
    limited.arg(command.get_program()).args(command.get_args());
    limited
}
