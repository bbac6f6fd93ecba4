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
    listening: Listening,
}

/// What a banner names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Listening {
    tcp: Vec<SocketAddr>,
    udp: Vec<SocketAddr>,
}

/// The command without input and output, and without the environment variables that the server reads.
pub fn isolated(mut command: Command) -> Command {
    for variable in ["RUST_LOG", "PARROT_PORT", "LISTEN_FDS", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
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
        let listening = wait_for("the server listens", || {
            let ended = process.ended()?;
            let stderr = process.stderr();
            if let Some(listening) = listening(&stderr) {
                return Ok(Some(listening?));
            }
            match ended {
                Some(status) => bail!("the server ended at its start ({status}): {stderr}"),
                None => Ok(None),
            }
        })?;
        Ok(Parrot { process, listening })
    }

    /// The first address of its TCP listeners.
    ///
    /// # Panics
    ///
    /// Panics if it has none.
    #[track_caller]
    #[allow(clippy::expect_used, reason = "for tests")]
    pub fn address(&self) -> SocketAddr {
        *self.listening.tcp.first().expect("the server has a TCP listener")
    }

    /// All addresses of its TCP listeners.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.listening.tcp
    }

    /// The addresses of its UDP sockets.
    pub fn udp_addresses(&self) -> &[SocketAddr] {
        &self.listening.udp
    }

    /// Where its pages are (`--admin` with a TCP address), as it says itself.
    pub fn pages(&self) -> Result<SocketAddr> {
        let line = self.line("a page are on http://")?;
        let (_, address) = line.rsplit_once("http://").context("a line without an address")?;
        Ok(address.trim_end_matches('/').parse()?)
    }

    /// Connects to its first address. Calls on the connection fail after [`PATIENCE`](crate::PATIENCE).
    #[track_caller]
    pub fn connect(&self) -> TcpStream {
        client::connect(self.address())
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
        // In a release, a panic on any thread ends the whole program.
        ensure!(!self.stderr().contains("panicked at"), "a thread has panicked:\n{}", self.stderr());
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

/// What the banner names, once it is there.
fn listening(stderr: &str) -> Option<Result<Listening>> {
    let (_, banner) = stderr.split_once("listening on ")?;
    let (banner, _) = banner.split_once('\n')?;
    let (places, _) = banner.rsplit_once(" (")?;
    Some(read_places(places))
}

fn read_places(places: &str) -> Result<Listening> {
    let mut listening = Listening::default();
    for place in places.split(", ").flat_map(|places| places.split(" and ")) {
        let place = place.split(' ').next().unwrap_or(place);
        let parse = |address: &str| address.parse().with_context(|| format!("no address: {place}"));
        match place.split_once(':') {
            Some(("udp", address)) => listening.udp.push(parse(address)?),
            Some(("unix", _)) => {}
            _ => listening.tcp.push(parse(place)?),
        }
    }
    Ok(listening)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_names_every_address() {
        let banner = "INFO listening on 0.0.0.0:1512 and [::]:1512 (kqueue)\n";
        let tcp = ["0.0.0.0:1512", "[::]:1512"].map(|address| address.parse().unwrap()).to_vec();
        assert_eq!(listening(banner).unwrap().unwrap(), Listening { tcp, udp: Vec::new() });

        let banner =
            "INFO listening on 127.0.0.1:1 as web with PROXY headers, udp:[::1]:2 and unix:/tmp/parrot.sock (kqueue)\n";
        let (tcp, udp) = (vec!["127.0.0.1:1".parse().unwrap()], vec!["[::1]:2".parse().unwrap()]);
        assert_eq!(listening(banner).unwrap().unwrap(), Listening { tcp, udp });
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
