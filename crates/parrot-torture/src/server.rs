//! The server under torture: started as a scenario wants it, asked how it is, and ended.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::held::Held;
use crate::here::STRACE;
use crate::measure::{self, Usage};
use crate::peer::PATIENCE;

/// Where the messages are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    Off,
    /// To a file in the scenario's folder.
    File,
    /// To a file that exists already, such as a device.
    Device(&'static str),
    /// To stdout, which is a pipe that is read when the scenario wants it.
    Pipe,
    /// To a file on a disk of 64 KiB that only the server sees: Linux, where namespaces are allowed.
    TinyDisk,
}

/// How the server is to be started.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) folder: &'a Path,
    pub(crate) arguments: &'a [&'a str],
    pub(crate) descriptors: Option<u32>,
    pub(crate) log: Log,
    /// Faults for strace to inject, in the words of its option `-e inject=`.
    pub(crate) inject: &'a [&'a str],
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    stderr: Arc<Mutex<String>>,
    log: Option<PathBuf>,
    /// Whether the log is a file that is there after the server, with others beside it that were the log before.
    log_stays: bool,
    reader: Mutex<Option<JoinHandle<std::io::Result<Vec<u8>>>>>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// The last line on stderr.
    summary: String,
    /// What was read of the log, where it can be read.
    held: Option<Held>,
}

impl Launch<'_> {
    /// The name of a log file in the folder.
    pub(crate) const LOG: &'static str = "messages.log";

    /// The name of what the server printed on stderr, in the folder.
    pub(crate) const STDERR: &'static str = "server.stderr";

    /// What strace says of calls that failed, in the folder.
    pub(crate) const FAULTS: &'static str = "faults.strace";

    fn log_path(&self) -> Option<PathBuf> {
        match self.log {
            Log::Off | Log::Pipe => None,
            Log::File => Some(self.folder.join(Self::LOG)),
            Log::Device(path) => Some(path.into()),
            Log::TinyDisk => Some(self.folder.join("disk").join(Self::LOG)),
        }
    }

    fn command(&self) -> Result<Command> {
        // Each word of the chain replaces itself by the next, so that the process id is the server's in the end.
        let mut script = String::new();
        if let Some(limit) = self.descriptors {
            script.push_str(&format!("ulimit -n {limit} && "));
        }
        if self.log == Log::TinyDisk {
            std::fs::create_dir_all(self.folder.join("disk"))?;
            script.push_str("mount -t tmpfs -o size=64k tmpfs disk && ");
        }
        script.push_str("exec \"$@\"");
        let mut words: Vec<String> = Vec::new();
        if self.log == Log::TinyDisk {
            words.extend(["unshare", "--map-root-user", "--mount"].map(str::to_owned));
        }
        words.extend(["sh", "-c", &script, "sh"].map(str::to_owned));
        if !self.inject.is_empty() {
            words.push("strace".to_owned());
            words.extend(STRACE.iter().chain(&["-o", Self::FAULTS]).map(|&word| word.to_owned()));
            if let (Log::File, Some(log)) = (self.log, self.log_path()) {
                // Writes of the log are to fail, and not those to stderr.
                words.extend(["-P".to_owned(), std::path::absolute(log)?.display().to_string()]);
            }
            words.extend(self.inject.iter().map(|fault| format!("--inject={fault}")));
        }
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().context("a command has a first word")?);
        command.args(words).arg(std::path::absolute(self.binary)?);
        command.args(["--port", "0", "--bind", "127.0.0.1", "--drain-timeout", "1s"]).args(self.arguments);
        match (self.log, self.log_path()) {
            (Log::Off, _) => drop(command.args(["--log", "off"])),
            (_, Some(path)) => drop(command.arg("--log-file").arg(std::path::absolute(path)?)),
            (_, None) => {}
        }
        command.current_dir(self.folder).env_remove("RUST_LOG").env_remove("PARROT_PORT");
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        command.stdout(if self.log == Log::Pipe { Stdio::piped() } else { Stdio::null() });
        Ok(command)
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(&self) -> Result<Server> {
        // Of a storm that fails, the server's own words are kept; those of a scenario's acts follow one another.
        let words = self.folder.join(Self::STDERR);
        let mut words = File::options()
            .create(true)
            .append(true)
            .open(&words)
            .with_context(|| format!("cannot open {}", words.display()))?;
        let mut child = self.command()?.spawn().context("cannot start the server")?;
        let lines = BufReader::new(child.stderr.take().context("stderr is a pipe")?).lines();
        let stderr = Arc::new(Mutex::new(String::new()));
        let collected = Arc::clone(&stderr);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let line = line + "\n";
                let _ = words.write_all(line.as_bytes());
                collected.lock().unwrap_or_else(PoisonError::into_inner).push_str(&line);
            }
        });
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Server {
            child,
            address,
            stderr,
            log: self.log_path(),
            log_stays: self.log == Log::File,
            reader: Mutex::default(),
        };
        server.address = eventually("the server listens", || {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended at its start ({status}): {}", server.stderr());
            }
            let stderr = server.stderr();
            let banner = stderr.lines().find_map(|line| line.split_once("listening on ")?.1.split_once(" ("));
            Ok(banner.map(|(address, _)| address.parse()).transpose()?)
        })?;
        Ok(server)
    }
}

impl Server {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The log, where the server's own eyes see it.
    #[cfg(target_os = "linux")]
    pub(crate) fn log_inside(&self) -> Result<PathBuf> {
        let log = self.log.as_deref().context("the scenario has a log file")?;
        let log = std::path::absolute(log)?;
        Ok(Path::new("/proc").join(self.pid().to_string()).join("root").join(log.strip_prefix("/")?))
    }

    pub(crate) fn log(&self) -> Result<&Path> {
        self.log.as_deref().context("the scenario has a log file")
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid(), signal).context("the server cannot be signalled: has it ended?")
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What it has printed on stderr so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins to read its stdout, to the end.
    pub(crate) fn read_stdout(&mut self) {
        if let Some(mut stdout) = self.child.stdout.take() {
            let reader = thread::spawn(move || {
                let mut all = Vec::new();
                stdout.read_to_end(&mut all).map(|_| all)
            });
            *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(reader);
        }
    }

    /// What the system says of its memory, descriptors and processor time; nothing where that cannot be read.
    pub(crate) fn usage(&self) -> Option<Usage> {
        measure::usage(self.pid().as_raw_nonzero().get())
    }

    /// How many connections it says are open: asks with SIGUSR1 and waits for the answer.
    pub(crate) fn connections(&self) -> Result<u64> {
        const WORDS: &str = " connections open, ";
        let before = self.stderr().matches(WORDS).count();
        self.signal(Signal::USR1)?;
        eventually("the server answers SIGUSR1", || {
            let stderr = self.stderr();
            if stderr.contains("drained: ") {
                bail!("the server has ended");
            }
            let answer = stderr.lines().filter(|line| line.contains(WORDS)).nth(before);
            let number = answer.and_then(|line| line.split_once(WORDS)?.0.split_whitespace().next_back());
            Ok(number.map(str::parse).transpose()?)
        })
    }

    /// Waits until so many connections are open.
    pub(crate) fn wait_for_connections(&self, wanted: u64) -> Result<()> {
        eventually("as many connections are open as there are peers", || {
            Ok((self.connections()? == wanted).then_some(()))
        })
        .with_context(|| format!("the server says: {}", self.stderr().lines().next_back().unwrap_or_default()))
    }

    /// A way to end it from another thread.
    pub(crate) fn remote(&self) -> Remote {
        Remote { pid: self.pid(), stderr: Arc::clone(&self.stderr) }
    }

    /// After SIGTERM: waits for its end, which must be an orderly one.
    pub(crate) fn end(mut self) -> Result<Ending> {
        let child = &mut self.child;
        let status = eventually("the server ends", || Ok(child.try_wait()?))
            .with_context(|| format!("it does not heed SIGTERM; its stderr:\n{}", self.stderr()))?;
        if status.code() != Some(0) {
            bail!("the exit code after SIGTERM is not 0 ({status}); its stderr:\n{}", self.stderr());
        }
        let summary = eventually("the summary is read", || {
            Ok(self.stderr().lines().find(|line| line.contains("drained: ")).map(str::to_owned))
        })?;
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        let held = match (reader, &self.log) {
            (Some(reader), _) => {
                let stdout = reader.join().map_err(|_| anyhow!("the reader of stdout panicked"))??;
                Some(Held::count(&stdout[..]).context("the log on stdout")?)
            }
            (None, Some(log)) if self.log_stays => Some(take_logs(log)?),
            (None, _) => None,
        };
        Ok(Ending { summary, held })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends a server that another thread works with.
pub(crate) struct Remote {
    pid: Pid,
    stderr: Arc<Mutex<String>>,
}

impl Remote {
    /// Sends SIGTERM and waits for the summary; how long that took.
    pub(crate) fn terminate(&self) -> Result<Duration> {
        kill_process(self.pid, Signal::TERM).context("the server cannot be signalled: has it ended?")?;
        let start = Instant::now();
        let ended = eventually("the server drains", || {
            let stderr = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(stderr.contains("drained: ").then(|| start.elapsed()))
        });
        ended.with_context(|| {
            let stderr = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
            format!("{}; its stderr:\n{stderr}", measure::state(self.pid.as_raw_nonzero().get()))
        })
    }
}

impl Ending {
    /// Demands that there were messages, that each was written to the log or counted as lost, and that the log, where it
    /// can be read, holds just as many; says how many.
    pub(crate) fn add_up(&self) -> Result<String> {
        let (messages, written, dropped) = (self.number(" messages"), self.written(), self.dropped());
        if messages == 0 || messages != written + dropped {
            bail!("the log does not add up: {}", self.summary);
        }
        match self.held {
            // The gap that was still open when a write failed at the end is told of in the summary alone.
            Some(Held { lines, missing }) if lines != written || missing > dropped => {
                bail!("the log holds {lines} lines and tells of {missing} lost ones: {}", self.summary)
            }
            _ => {}
        }
        let found = if self.held.is_some() { " and found" } else { "" };
        Ok(format!("{written} messages written{found}, {dropped} lost, {} write errors", self.write_errors()))
    }

    /// Demands that the gaps in the log tell of every message that was lost.
    pub(crate) fn all_gaps_told(&self) -> Result<()> {
        let missing = self.held.map(|held| held.missing);
        ensure!(missing == Some(self.dropped()), "the log tells of {missing:?} lost messages: {}", self.summary);
        Ok(())
    }

    pub(crate) fn summary(&self) -> &str {
        &self.summary
    }

    pub(crate) fn written(&self) -> u64 {
        self.number(" log lines written")
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.number(" dropped")
    }

    pub(crate) fn write_errors(&self) -> u64 {
        self.number(" write errors")
    }

    /// The number before these words in the summary; 0 if they are not there.
    fn number(&self, words: &str) -> u64 {
        let before = self.summary.split_once(words).and_then(|(before, _)| before.split_whitespace().next_back());
        before.and_then(|number| number.parse().ok()).unwrap_or_default()
    }
}

/// Counts what is in a log file and in those beside it that were the log before, and removes them: a soak leaves a
/// gigabyte.
fn take_logs(log: &Path) -> Result<Held> {
    let folder = log.parent().context("a log is in a folder")?;
    let mut all = Held::default();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let shown = || format!("the log {}", path.display());
            all += Held::count(BufReader::new(File::open(&path).with_context(shown)?)).with_context(shown)?;
            std::fs::remove_file(&path).with_context(shown)?;
        }
    }
    Ok(all)
}

/// Waits until the condition gives a value.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if start.elapsed() > PATIENCE {
            bail!("waited in vain for {PATIENCE:?}: {what}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(numbers: &str) -> Ending {
        Ending { summary: format!("INFO drained: 0 connections open, {numbers}"), held: None }
    }

    #[test]
    fn a_log_adds_up_when_every_message_is_written_or_counted_as_lost() {
        let figure = ending("9 messages, 80 bytes in; 7 log lines written, 2 dropped, 1 write errors").add_up();
        assert_eq!(figure.unwrap(), "7 messages written, 2 lost, 1 write errors");
    }

    #[test]
    fn a_log_that_holds_another_number_of_lines_than_were_written_does_not_add_up() {
        let ending = |lines, missing| Ending {
            held: Some(Held { lines, missing }),
            ..ending("9 messages, 80 bytes in; 7 log lines written, 2 dropped, 1 write errors")
        };
        assert!(ending(7, 2).add_up().is_ok() && ending(7, 0).add_up().is_ok());
        assert!(ending(6, 2).add_up().is_err() && ending(8, 2).add_up().is_err() && ending(7, 3).add_up().is_err());
        assert!(ending(7, 2).all_gaps_told().is_ok() && ending(7, 1).all_gaps_told().is_err());
    }

    #[test]
    fn a_log_that_lacks_a_message_has_one_too_many_or_is_not_told_of_does_not_add_up() {
        for numbers in [
            "9 messages, 80 bytes in; 7 log lines written, 1 dropped, 0 write errors",
            "9 messages, 80 bytes in; 9 log lines written, 1 dropped, 0 write errors",
            "0 messages, 0 bytes in; 0 log lines written, 0 dropped, 0 write errors",
            "9 messages, 80 bytes in",
        ] {
            assert!(ending(numbers).add_up().is_err(), "{numbers}");
        }
    }
}
