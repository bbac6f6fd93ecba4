//! A running server: started, waited for until it echoes, and ended.

use std::fs::{self, File};
use std::os::unix::net::SocketAddr as UnixAddress;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use parrot_load::Target;
use parrot_testkit::output::warn;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::interrupt::Interrupt;
use crate::probe;
use crate::results::LogLines;
use crate::server::{Place, Server};
use crate::suite::Transport;

/// How long a server may take to echo for the first time.
const START: Duration = Duration::from_secs(10);
/// How long a server with a log may take to write the rest of it.
const END: Duration = Duration::from_secs(3);
/// How often the state of the server is checked.
const LOOK: Duration = Duration::from_millis(10);
/// What each process of a server with several prints once it listens.
const LISTENS: &str = "listening on ";

/// A server that echoes. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    /// Its processes. The first leads the group that all of them and their children are in.
    processes: Vec<Child>,
    pub(crate) target: Target,
    /// The file of its log, if it has one.
    log: Option<PathBuf>,
    /// The file of its standard error.
    errors: &'a Path,
    interrupt: &'a Interrupt,
    /// Its directory, which is removed last.
    _directory: TempDir,
}

impl<'a> Running<'a> {
    /// Starts `server` for `transport` and waits until it echoes. Its standard error goes to the file `errors`.
    ///
    /// # Errors
    ///
    /// If it cannot be started, if it ends or does not echo in time, or if the program is interrupted.
    pub(crate) fn start(
        server: &Server,
        transport: Transport,
        errors: &'a Path,
        interrupt: &'a Interrupt,
    ) -> Result<Running<'a>> {
        let directory = tempfile::Builder::new().prefix("parrot-").tempdir().context("no directory for a server")?;
        let place = Place { port: probe::free_port()?, directory: directory.path() };
        let target = match transport {
            Transport::Tcp => Target::Tcp(place.address()),
            Transport::Udp => Target::Udp(place.address()),
            Transport::Unix => Target::Unix(UnixAddress::from_pathname(place.socket())?),
        };
        let mut command = server.command(transport, &place)?;
        let said = File::create(errors).with_context(|| format!("cannot write {}", errors.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let (processes, log) = (Vec::new(), server.log.clone());
        let mut running = Running { processes, target, log, errors, interrupt, _directory: directory };
        let deadline = Instant::now() + START;
        let silent = || Instant::now() > deadline || interrupt.stop.stopped();
        for count in 1..=server.processes {
            command.stderr(said.try_clone()?);
            // In a process group of its own the server does not receive our Ctrl-C, and can be killed with its children.
            command.process_group(running.processes.first().map_or(Ok(0), |first| i32::try_from(first.id()))?);
            let mut group = interrupt.server();
            let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
            group.get_or_insert(Pid::from_child(&child));
            drop(group);
            running.processes.push(child);
            while server.processes > 1 && lines_with(errors, LISTENS) < count {
                running.expect_to_start(server, "does not listen", &silent)?;
            }
        }
        while probe::echoes(&running.target, &silent).is_err() {
            running.expect_to_start(server, "does not echo", &silent)?;
        }
        Ok(running)
    }

    /// Waits a moment, unless a process has ended or there is no time left.
    fn expect_to_start(&mut self, server: &Server, lacks: &str, silent: &impl Fn() -> bool) -> Result<()> {
        let ended = self.has_ended()?;
        if ended || silent() {
            let errors = fs::read_to_string(self.errors).unwrap_or_default();
            let last = errors.lines().last().unwrap_or("it printed no error");
            bail!("{} {}: {last}", server.name, if ended { "ended" } else { lacks });
        }
        thread::sleep(LOOK);
        Ok(())
    }

    /// The ids of its processes. The first leads their group.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.processes.iter().map(Child::id).collect()
    }

    /// Ends the server and returns how many lines it logged, if it has a log. Removes the log, which may be large.
    ///
    /// # Errors
    ///
    /// If the server cannot be ended or the log cannot be removed.
    pub(crate) fn finish(mut self) -> Result<Option<LogLines>> {
        self.end()?;
        let Some(log) = &self.log else { return Ok(None) };
        fs::remove_file(log).with_context(|| format!("cannot remove {}", log.display()))?;
        Ok(LogLines::parse(&fs::read_to_string(self.errors).unwrap_or_default()))
    }

    /// Whether any of its processes has ended. If so, it is reaped.
    ///
    /// The group is there as long as one of its processes is, and with it the number that it is killed by.
    fn has_ended(&mut self) -> Result<bool> {
        let mut group = self.interrupt.server();
        let (mut ended, mut left) = (false, false);
        for process in &mut self.processes {
            let has_ended = process.try_wait()?.is_some();
            (ended, left) = (ended || has_ended, left || !has_ended);
        }
        if !left {
            *group = None;
        }
        Ok(ended)
    }

    /// Ends the server.
    ///
    /// Only a server with a log gets SIGTERM and time to write the rest of its lines. The others are killed, because
    /// servers inherit our blocked signals and some of them never unblock SIGTERM.
    fn end(&mut self) -> Result<()> {
        let Some(leader) = self.processes.first().map(Pid::from_child) else { return Ok(()) };
        let deadline = Instant::now() + END;
        if self.log.is_some() && !self.has_ended()? {
            kill_process(leader, Signal::TERM)?;
            while !self.has_ended()? && Instant::now() < deadline {
                thread::sleep(LOOK);
            }
        }
        self.has_ended()?;
        let mut group = self.interrupt.server();
        if group.is_some() {
            kill_process_group(leader, Signal::KILL)?;
            for process in &mut self.processes {
                process.wait()?;
            }
            *group = None;
        }
        Ok(())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            warn(format_args!("cannot end the server with the processes {:?}: {error:#}", self.ids()));
        }
    }
}

/// How many lines of the file contain `text`.
fn lines_with(file: &Path, text: &str) -> usize {
    fs::read_to_string(file).unwrap_or_default().lines().filter(|line| line.contains(text)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_at_once_is_reported_with_its_error() {
        let sulky = Server::rival("sulky=cat /nonexistent/{port}").expect("a rival");
        let errors = std::env::temp_dir().join(format!("parrot-bench-sulky-{}", std::process::id()));
        let interrupt = Interrupt::default();
        let error = Running::start(&sulky, Transport::Tcp, &errors, &interrupt).expect_err("no server").to_string();
        fs::remove_file(errors).expect("the file of its standard error");
        assert!(error.contains("sulky ended") && error.contains("/nonexistent/"), "{error}");
        assert_eq!(*interrupt.server(), None, "no server is left to kill");
    }
}
