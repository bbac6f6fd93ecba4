//! A server while it runs: started, asked until it answers, ended.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::interrupt::Interrupt;
use crate::results::LogLines;
use crate::say::warn;
use crate::server::Server;

/// How long a server may take to answer for the first time.
const START: Duration = Duration::from_secs(10);
/// How long one that keeps a log may take to write the rest of it.
const END: Duration = Duration::from_secs(3);
/// How often its state is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(10);
/// How long an answer is waited for at once.
const LISTEN: Duration = Duration::from_millis(100);

/// A server that answers. Ended when dropped.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The file it logs to, if it keeps a log.
    log: Option<PathBuf>,
    /// Where its standard error went.
    errors: &'a Path,
    interrupt: &'a Interrupt,
}

impl<'a> Running<'a> {
    /// Starts `server` on a free port and waits until it has echoed something. What it says on standard error goes to
    /// `errors`.
    ///
    /// # Errors
    ///
    /// If it cannot be started, ends, or does not answer in time, with the end of what it said; or if it was interrupted.
    pub(crate) fn start(server: &Server, errors: &'a Path, interrupt: &'a Interrupt) -> Result<Running<'a>> {
        let address = free_address()?;
        let said = File::create(errors).with_context(|| format!("cannot write {}", errors.display()))?;
        let mut command = server.command(address.port());
        // A group of its own: Ctrl-C is for us, and we end the server with whatever it has started.
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
                let what = if ended { "ended" } else { "does not answer" };
                let said = std::fs::read_to_string(errors).unwrap_or_default();
                bail!("{} {what}: {}", server.name, said.lines().last().unwrap_or("it said nothing"));
            }
            thread::sleep(LOOK);
        }
        Ok(running)
    }

    /// Its process, for the accounting.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it, and says how many lines it logged, if it keeps a log. The log itself is removed: it may be large.
    ///
    /// # Errors
    ///
    /// If it cannot be ended.
    pub(crate) fn finish(mut self) -> Result<Option<LogLines>> {
        self.end()?;
        let Some(log) = &self.log else { return Ok(None) };
        std::fs::remove_file(log).with_context(|| format!("cannot remove {}", log.display()))?;
        Ok(LogLines::told(&std::fs::read_to_string(self.errors).unwrap_or_default()))
    }

    /// Whether it has ended; if so it is reaped.
    fn ended(&mut self) -> Result<bool> {
        let mut group = self.interrupt.server();
        let ended = self.child.try_wait()?.is_some();
        if ended {
            *group = None;
        }
        Ok(ended)
    }

    /// Ends it. Only one that keeps a log is asked to, and given time: it has lines to write. Of the others some could
    /// not even hear it, because a server starts with the signals blocked that are blocked here.
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
            warn(format_args!("the server of process {} could not be ended: {error:#}", self.child.id()));
        }
    }
}

/// A port of loopback that nobody listens on at the moment.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?)
}

/// Whether a server at `address` echoes a word before `enough` says that it was waited for long enough.
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
    if &answer == b"polly\n" { Ok(()) } else { Err(io::Error::other("it answers something else")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_at_once_is_reported_with_its_last_words() {
        let sulky = Server::rival("sulky=cat /nonexistent/{port}").expect("a rival");
        let errors = std::env::temp_dir().join(format!("parrot-bench-sulky-{}", std::process::id()));
        let interrupt = Interrupt::default();
        let error = Running::start(&sulky, &errors, &interrupt).expect_err("no server").to_string();
        std::fs::remove_file(errors).expect("what it said was kept");
        assert!(error.contains("sulky ended") && error.contains("/nonexistent/"), "{error}");
        assert_eq!(*interrupt.server(), None, "nobody is left to be ended");
    }
}
