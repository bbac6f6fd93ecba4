//! The server under torture: what storms can request, and the end.

use std::io::{self, Read as _};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use parrot_testkit::parrot::{Parrot, number};
use parrot_testkit::process::Handle;
use parrot_testkit::usage::{Usage, state};
use parrot_testkit::wait_for;
use rustix::process::Signal;

use crate::ending::{Ending, Held};

/// A running server. It is killed when dropped.
pub(crate) struct Server {
    parrot: Parrot,
    log: Option<PathBuf>,
    /// Whether the log is a file that outlives the server, beside the files that were the log before it.
    log_stays: bool,
    reader: Option<JoinHandle<io::Result<Vec<u8>>>>,
}

impl Server {
    pub(crate) fn new(parrot: Parrot, log: Option<PathBuf>, log_stays: bool) -> Server {
        Server { parrot, log, log_stays, reader: None }
    }

    pub(crate) fn log(&self) -> Result<&Path> {
        self.log.as_deref().context("the scenario has a log file")
    }

    /// The path of the log in the server's own namespace.
    #[cfg(target_os = "linux")]
    pub(crate) fn log_inside(&self) -> Result<PathBuf> {
        let root = format!("/proc/{}/root", self.pid());
        Ok(Path::new(&root).join(self.log()?.strip_prefix("/")?))
    }

    /// Starts to read its stdout.
    pub(crate) fn read_stdout(&mut self) {
        if let Some(mut stdout) = self.parrot.take_stdout() {
            self.reader = Some(thread::spawn(move || {
                let mut all = Vec::new();
                stdout.read_to_end(&mut all).map(|_| all)
            }));
        }
    }

    /// Its memory, descriptors and processor time, where the system shows them.
    pub(crate) fn usage(&self) -> Option<Usage> {
        Usage::of(self.pid())
    }

    /// The number of open connections, by its own count.
    pub(crate) fn connections(&self) -> Result<u64> {
        number(&self.statistics()?, "connections open")
    }

    /// Waits until this many connections are open.
    pub(crate) fn wait_for_connections(&self, wanted: u64) -> Result<()> {
        let mut open = 0;
        wait_for(&format!("{wanted} open connections"), || {
            open = self.connections()?;
            Ok((open == wanted).then_some(()))
        })
        .with_context(|| format!("{open} connections are open"))
    }

    /// Waits for the end that SIGTERM has asked for, which must be an orderly one.
    pub(crate) fn end(mut self) -> Result<Ending> {
        let summary = self.parrot.wait_for_summary().context("the server does not end as it should after SIGTERM")?;
        let held = match (self.reader.take(), &self.log) {
            (Some(reader), _) => {
                let stdout = reader.join().map_err(|_| anyhow!("the reader of stdout panicked"))??;
                Some(Held::count(&stdout[..]).context("the log on stdout")?)
            }
            (None, Some(log)) if self.log_stays => Some(Held::take(log)?),
            (None, _) => None,
        };
        Ok(Ending { summary, held })
    }
}

impl Deref for Server {
    type Target = Parrot;

    fn deref(&self) -> &Parrot {
        &self.parrot
    }
}

/// Sends SIGTERM to the server and waits for its summary. Returns how long that took.
pub(crate) fn terminate(server: &Handle) -> Result<Duration> {
    server.signal(Signal::TERM)?;
    let start = Instant::now();
    server.summary().with_context(|| format!("the server does not drain; {}", state(server.pid())))?;
    Ok(start.elapsed())
}
