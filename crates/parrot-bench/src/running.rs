//! A running server: started, waited for until it echoes, and ended.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use parrot_testkit::client::free_port;
use parrot_testkit::output::warn;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::interrupt::Interrupt;
use crate::results::LogLines;
use crate::server::Server;

/// How long a server may take to echo for the first time.
const START: Duration = Duration::from_secs(10);
/// How long a server with a log may take to write the rest of it.
const END: Duration = Duration::from_secs(3);
/// How often the state of the server is checked.
const LOOK: Duration = Duration::from_millis(10);
/// How long one receive waits for an echo.
const LISTEN: Duration = Duration::from_millis(100);

/// A server that echoes. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The file of its log, if it has one.
    log: Option<PathBuf>,
    /// The file of its standard error.
    errors: &'a Path,
    interrupt: &'a Interrupt,
}

impl<'a> Running<'a> {
    /// Starts `server` on a free port and waits until it echoes. Its standard error goes to the file `errors`.
    ///
    /// # Errors
    ///
    /// If it cannot be started, if it ends or does not echo in time, or if the program is interrupted.
    pub(crate) fn start(server: &Server, errors: &'a Path, interrupt: &'a Interrupt) -> Result<Running<'a>> {
        let port = free_port().context("no free port on 127.0.0.1")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let said = File::create(errors).with_context(|| format!("cannot write {}", errors.display()))?;
        let mut command = server.command(port);
        // In a process group of its own the server does not receive our Ctrl-C, and can be killed with its children.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).process_group(0);
        let mut group = interrupt.server();
        let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        *group = Some(Pid::from_child(&child));
        drop(group);
        let mut running = Running { child, address, log: server.log.clone(), errors, interrupt };
        let deadline = Instant::now() + START;
        let silent = || Instant::now() > deadline || interrupt.stop.stopped();
        while echoes(address, &silent).is_err() {
            let ended = running.ended()?;
            if ended || silent() {
                let what = if ended { "ended" } else { "does not echo" };
                let errors = std::fs::read_to_string(errors).unwrap_or_default();
                bail!("{} {what}: {}", server.name, errors.lines().last().unwrap_or("it printed no error"));
            }
            thread::sleep(LOOK);
        }
        Ok(running)
    }

    /// The id of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends the server and returns how many lines it logged, if it has a log. Removes the log, which may be large.
    ///
    /// # Errors
    ///
    /// If the server cannot be ended or the log cannot be removed.
    pub(crate) fn finish(mut self) -> Result<Option<LogLines>> {
        self.end()?;
        let Some(log) = &self.log else { return Ok(None) };
        std::fs::remove_file(log).with_context(|| format!("cannot remove {}", log.display()))?;
        Ok(LogLines::parse(&std::fs::read_to_string(self.errors).unwrap_or_default()))
    }

    /// Whether the server has ended. If so, it is reaped.
    fn ended(&mut self) -> Result<bool> {
        let mut group = self.interrupt.server();
        let ended = self.child.try_wait()?.is_some();
        if ended {
            *group = None;
        }
        Ok(ended)
    }

    /// Ends the server.
    ///
    /// Only a server with a log gets SIGTERM and time to write the rest of its lines. The others are killed, because
    /// servers inherit our blocked signals and some of them never unblock SIGTERM.
    fn end(&mut self) -> Result<()> {
        let process = Pid::from_child(&self.child);
        let deadline = Instant::now() + END;
        if self.log.is_some() && !self.ended()? {
            kill_process(process, Signal::TERM)?;
            while !self.ended()? && Instant::now() < deadline {
                thread::sleep(LOOK);
            }
        }
        if !self.ended()? {
            let mut group = self.interrupt.server();
            kill_process_group(process, Signal::KILL)?;
            self.child.wait()?;
            *group = None;
        }
        Ok(())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            warn(format_args!("cannot end the server with process id {}: {error:#}", self.child.id()));
        }
    }
}

/// Checks that a server at `address` echoes a word. Gives up when `enough` returns true.
fn echoes(address: SocketAddr, enough: &impl Fn() -> bool) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, START)?;
    stream.set_read_timeout(Some(LISTEN))?;
    stream.write_all(b"polly\n")?;
    let (mut answer, mut filled) = ([0; 6], 0);
    while filled < answer.len() {
        match stream.read(answer.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !enough() => {}
            Err(error) => return Err(error),
        }
    }
    if &answer == b"polly\n" { Ok(()) } else { Err(io::Error::other("other bytes came back")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_at_once_is_reported_with_its_error() {
        let sulky = Server::rival("sulky=cat /nonexistent/{port}").expect("a rival");
        let errors = std::env::temp_dir().join(format!("parrot-bench-sulky-{}", std::process::id()));
        let interrupt = Interrupt::default();
        let error = Running::start(&sulky, &errors, &interrupt).expect_err("no server").to_string();
        std::fs::remove_file(errors).expect("the file of its standard error");
        assert!(error.contains("sulky ended") && error.contains("/nonexistent/"), "{error}");
        assert_eq!(*interrupt.server(), None, "no server is left to kill");
    }
}
