//! The `parrot` server as a process: its addresses, statistics and summary.

use std::net::{SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;

use crate::client;
use crate::patience::wait_for;
use crate::process::{Handle, Process};

/// Part of every line of statistics, and of the summary.
const STATISTICS: &str = " connections open, ";

/// Part of the line that the server prints last.
const SUMMARY: &str = "drained: ";

/// A running server. It is killed when dropped.
#[derive(Debug)]
pub struct Parrot {
    process: Process,
    address: SocketAddr,
    addresses: Vec<SocketAddr>,
}

/// The command without input and output, and without the environment variables that the server reads.
pub fn isolated(mut command: Command) -> Command {
    for variable in ["RUST_LOG", "PARROT_PORT", "LISTEN_FDS"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

impl Parrot {
    /// Starts the command and waits until the banner says where it listens.
    pub fn spawn(command: &mut Command) -> Result<Parrot> {
        Parrot::when_listening(Process::spawn(command)?)
    }

    /// Waits until the banner of a server that was just started says where it listens.
    pub fn when_listening(mut process: Process) -> Result<Parrot> {
        let addresses = wait_for("the server listens", || {
            let ended = process.ended()?;
            let stderr = process.stderr();
            if let Some(addresses) = listening(&stderr) {
                return Ok(Some(addresses?));
            }
            match ended {
                Some(status) => bail!("the server ended at its start ({status}): {stderr}"),
                None => Ok(None),
            }
        })?;
        let address = *addresses.first().context("a banner has an address")?;
        Ok(Parrot { process, address, addresses })
    }

    /// The first address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All addresses it listens on.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Connects to its first address. Calls on the connection fail after [`PATIENCE`](crate::PATIENCE).
    #[track_caller]
    pub fn connect(&self) -> TcpStream {
        client::connect(self.address)
    }

    /// Sends SIGTERM and waits for the summary.
    pub fn stop(mut self) -> Result<String> {
        self.signal(Signal::TERM)?;
        self.wait_for_summary()
    }

    /// Waits for the end that SIGTERM has asked for, and returns the summary.
    pub fn wait_for_summary(&mut self) -> Result<String> {
        let status = self.wait()?;
        ensure!(status.code() == Some(0), "the server ended with {status}, and has printed:\n{}", self.stderr());
        self.summary()
    }
}

impl Deref for Parrot {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Parrot {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Requests to a server, from any thread.
impl Handle {
    /// Requests a line of statistics with SIGUSR1 and waits for it.
    pub fn statistics(&self) -> Result<String> {
        let before = self.printed().matches(STATISTICS).count();
        self.signal(Signal::USR1)?;
        wait_for("the server's statistics", || {
            let printed = self.printed();
            ensure!(!printed.contains(SUMMARY), "the server has ended");
            Ok(printed.lines().filter(|line| line.contains(STATISTICS)).nth(before).map(str::to_owned))
        })
    }

    /// Waits for the line that the server prints last.
    pub fn summary(&self) -> Result<String> {
        self.line(SUMMARY)
    }
}

/// The number before these words in a line of statistics.
pub fn number(line: &str, words: &str) -> Result<u64> {
    let before = line.split_once(&format!(" {words}")).map(|(before, _)| before);
    let number = before.and_then(|before| before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
    number.with_context(|| format!("no number of {words} in: {line}"))
}

/// The addresses in the banner, once it is there.
fn listening(stderr: &str) -> Option<Result<Vec<SocketAddr>>> {
    let (_, banner) = stderr.split_once("listening on ")?;
    let (addresses, _) = banner.split_once(" (")?;
    let parse = |address: &str| address.parse().with_context(|| format!("no address: {address}"));
    Some(addresses.split(" and ").map(parse).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_names_every_address() {
        let banner = "INFO listening on 0.0.0.0:1512 and [::]:1512 (kqueue)\n";
        let addresses = ["0.0.0.0:1512", "[::]:1512"].map(|address| address.parse().unwrap());
        assert_eq!(listening(banner).unwrap().unwrap(), addresses);
        assert!(listening("INFO listening on 0.0.0.0:15").is_none());
    }

    #[test]
    fn a_number_stands_before_its_words() {
        let line = "INFO drained: 0 connections open, 17 accepted; 9 messages";
        assert_eq!(number(line, "accepted").unwrap(), 17);
        assert_eq!(number(line, "connections open").unwrap(), 0);
        assert!(number(line, "retries").is_err());
    }
}
