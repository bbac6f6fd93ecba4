//! A running server: started, waited for until it echoes, stopped while another one is measured, and ended.

use std::fs::{self, File};
use std::os::unix::net::SocketAddr as UnixAddress;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{io, thread};

use anyhow::{Context, Result, bail};
use parrot_load::Target;
use parrot_testkit::output::warn;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::interrupt::Interrupt;
use crate::probe;
use crate::results::LogLines;
use crate::server::{Place, Server};
use crate::stopping;
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
    errors: PathBuf,
    interrupt: &'a Interrupt,
    /// Whether it is stopped, so that it does nothing until it goes on.
    stopped: bool,
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
        errors: PathBuf,
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
        let said = File::create(&errors).with_context(|| format!("cannot write {}", errors.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let (processes, log) = (Vec::new(), server.log(&place));
        let mut running = Running { processes, target, log, errors, interrupt, stopped: false, _directory: directory };
        let silent = running.silence();
        for count in 1..=server.processes {
            command.stderr(said.try_clone()?);
            // In a process group of its own the server does not receive our Ctrl-C, and can be killed with its children.
            command.process_group(running.processes.first().map_or(Ok(0), |first| i32::try_from(first.id()))?);
            let mut servers = interrupt.servers();
            let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
            if count == 1 {
                servers.push(Pid::from_child(&child));
            }
            drop(servers);
            running.processes.push(child);
            while server.processes > 1 && lines_with(&running.errors, LISTENS) < count {
                running.expect_life(server, "does not listen", &silent)?;
            }
        }
        running.expect_echo(server)?;
        Ok(running)
    }

    /// Waits until it echoes a word on a connection of its own.
    ///
    /// A server that takes up events in their order has then taken up all that came before.
    ///
    /// # Errors
    ///
    /// If it ends or does not echo in time, or if the program is interrupted.
    pub(crate) fn expect_echo(&mut self, server: &Server) -> Result<()> {
        let silent = self.silence();
        while probe::echoes(&self.target, &silent).is_err() {
            self.expect_life(server, "does not echo", &silent)?;
        }
        Ok(())
    }

    /// Says whether a server that begins to start now has been silent for too long.
    fn silence(&self) -> impl Fn() -> bool + use<'a> {
        let (deadline, stop) = (Instant::now() + START, &self.interrupt.stop);
        move || Instant::now() > deadline || stop.stopped()
    }

    /// Waits a moment, unless a process has ended or there is no time left.
    fn expect_life(&mut self, server: &Server, lacks: &str, silent: &impl Fn() -> bool) -> Result<()> {
        let ended = self.has_ended()?;
        if ended || silent() {
            let errors = fs::read_to_string(&self.errors).unwrap_or_default();
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

    /// Stops the server, with the processes that it has started, and waits until none of them runs.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.expect_processes()?;
        self.stopped = true; // some of it may have stopped even if this fails
        stopping::stop(&self.ids())
    }

    /// Lets the server go on after a stop.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub(crate) fn go_on(&mut self) -> Result<()> {
        self.expect_processes()?;
        stopping::go_on(&self.ids())?;
        self.stopped = false;
        Ok(())
    }

    /// Fails if all processes have been reaped, because their numbers may be those of others by now.
    fn expect_processes(&self) -> Result<()> {
        let leader = self.processes.first().map(Pid::from_child);
        if leader.is_none_or(|leader| !self.interrupt.servers().contains(&leader)) {
            bail!("the server has ended");
        }
        Ok(())
    }

    /// Forgets what the server has logged, if it has a log, which can become very long in many rounds.
    ///
    /// # Errors
    ///
    /// If the file of the log cannot be emptied.
    pub(crate) fn empty_log(&self) -> Result<()> {
        let Some(log) = &self.log else { return Ok(()) };
        let emptied = File::options().write(true).open(log).and_then(|file| file.set_len(0));
        emptied.with_context(|| format!("cannot empty {}", log.display()))
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
        Ok(LogLines::parse(&fs::read_to_string(&self.errors).unwrap_or_default()))
    }

    /// Whether any of its processes has ended. If so, it is reaped.
    ///
    /// The group is there as long as one of its processes is, and with it the number that it is killed by.
    fn has_ended(&mut self) -> Result<bool> {
        let mut servers = self.interrupt.servers();
        let (mut ended, mut left) = (false, false);
        for process in &mut self.processes {
            let has_ended = end_of(process.try_wait())?;
            (ended, left) = (ended || has_ended, left || !has_ended);
        }
        if !left {
            self.forget(&mut servers);
        }
        Ok(ended)
    }

    /// Takes the server from those that are killed with the program.
    fn forget(&self, servers: &mut Vec<Pid>) {
        let leader = self.processes.first().map(Pid::from_child);
        servers.retain(|server| Some(*server) != leader);
    }

    /// Ends the server.
    ///
    /// Only a server with a log gets SIGTERM and time to write the rest of its lines, and goes on for that if it is
    /// stopped. The others are killed, because servers inherit our blocked signals and some of them never unblock SIGTERM.
    fn end(&mut self) -> Result<()> {
        let Some(leader) = self.processes.first().map(Pid::from_child) else { return Ok(()) };
        let deadline = Instant::now() + END;
        if self.log.is_some() && !self.has_ended()? {
            if self.stopped {
                self.go_on()?;
            }
            kill_process(leader, Signal::TERM)?;
            while !self.has_ended()? && Instant::now() < deadline {
                thread::sleep(LOOK);
            }
        }
        self.has_ended()?;
        let mut servers = self.interrupt.servers();
        if servers.contains(&leader) {
            kill_process_group(leader, Signal::KILL)?;
            for process in &mut self.processes {
                end_of(process.wait().map(Some))?;
            }
            self.forget(&mut servers);
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

/// Whether a process has ended, which is so as well if it was reaped when it should have stopped.
fn end_of(status: io::Result<Option<ExitStatus>>) -> io::Result<bool> {
    match status {
        Err(error) if error.raw_os_error() == Some(Errno::CHILD.raw_os_error()) => Ok(true),
        status => Ok(status?.is_some()),
    }
}

/// How many lines of the file contain `text`.
fn lines_with(file: &Path, text: &str) -> usize {
    fs::read_to_string(file).unwrap_or_default().lines().filter(|line| line.contains(text)).count()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};

    use super::*;

    #[test]
    fn a_server_that_ends_at_once_is_reported_with_its_error() {
        let sulky = Server::rival("sulky=cat /nonexistent/{port}").expect("a rival");
        let errors = std::env::temp_dir().join(format!("parrot-bench-sulky-{}", std::process::id()));
        let interrupt = Interrupt::default();
        let error = Running::start(&sulky, Transport::Tcp, errors.clone(), &interrupt);
        let error = error.expect_err("no server").to_string();
        fs::remove_file(errors).expect("the file of its standard error");
        assert!(error.contains("sulky ended") && error.contains("/nonexistent/"), "{error}");
        assert_eq!(*interrupt.servers(), [], "no server is left to kill");
    }

    /// A shell that runs `script`, as a server that does not echo.
    fn shell<'a>(script: &str, interrupt: &'a Interrupt) -> Running<'a> {
        let directory = tempfile::tempdir().expect("a directory");
        let [log, errors] = ["log", "errors"].map(|name| directory.path().join(name));
        fs::write(&log, "lines").expect("a log");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", script]).stdout(Stdio::piped()).stderr(File::create(&errors).expect("a file"));
        let mut shell = shell.process_group(0).spawn().expect("a shell");
        interrupt.servers().push(Pid::from_child(&shell));
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("a pipe")).read_line(&mut line).expect("its first line");
        let target = Target::Tcp((std::net::Ipv4Addr::LOCALHOST, 1).into());
        let log = Some(log);
        Running { processes: vec![shell], target, log, errors, interrupt, stopped: false, _directory: directory }
    }

    /// Says when it is ready, and what Parrot says of its log when it is terminated.
    // In a shell of its own, because some shells start programs by vfork(2). A process that waits for that never stops.
    const LOGS: &str =
        "trap 'echo 7 log lines written, 1 dropped >&2; exit' TERM; echo; while :; do (sleep 0.01); done";

    #[test]
    fn a_stopped_server_can_still_finish_its_log() {
        let interrupt = Interrupt::default();
        let mut server = shell(LOGS, &interrupt);
        server.stop().expect("a stop");
        server.empty_log().expect("an empty log");
        let log = server.log.clone().expect("a log");
        assert_eq!(fs::read(&log).expect("the log"), b"");
        assert_eq!(server.finish().expect("its end"), Some(LogLines { written: 7, dropped: 1 }));
        assert!(interrupt.servers().is_empty() && !log.exists());
    }

    #[test]
    fn a_stopped_server_is_killed_when_it_is_dropped() {
        let interrupt = Interrupt::default();
        let mut server = shell("trap '' TERM; echo; exec sleep 1000", &interrupt);
        server.log = None;
        server.stop().expect("a stop");
        let leader = Pid::from_child(server.processes.first().expect("a process"));
        drop(server);
        assert!(rustix::process::test_kill_process_group(leader).is_err(), "a process is left");
        assert!(interrupt.servers().is_empty());
    }
}
