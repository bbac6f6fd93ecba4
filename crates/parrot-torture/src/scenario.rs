//! A scenario: how the server is started, the storm it is put through, and what must hold beside and after it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use parrot_testkit::stream::Random;

use crate::ending::Ending;
use crate::healthy::Healthy;
use crate::peer::{Peer, Sockets, Trouble};
use crate::server::Server;

/// How many connections may wait to be accepted. macOS and the BSDs let 128 wait by default (kern.ipc.somaxconn,
/// kern.ipc.soacceptqueue) and reset those above one and a half times that.
pub(crate) const WAITING: usize = if cfg!(target_os = "linux") { 4096 } else { 100 };

/// A network of a scenario's own, on Linux.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network {
    /// What sets it apart.
    pub(crate) name: &'static str,
    /// Shell commands that make it.
    pub(crate) commands: &'static [&'static str],
}

/// Where the messages are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    Off,
    /// To a file in the scenario's folder.
    File,
    /// To a file that exists already, such as a device.
    Device(&'static str),
    /// To stdout, which is a pipe that the scenario reads when it wants to.
    Pipe,
    /// To a file on a disk of 64 KiB that only the server sees. This needs Linux and permission to make namespaces.
    TinyDisk,
}

/// One scenario of the suite.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What happens in it, in a sentence.
    pub story: &'static str,
    /// Arguments of the server.
    pub(crate) arguments: &'static [&'static str],
    /// The server's limit of descriptors, or that of the suite.
    pub(crate) descriptors: Option<u32>,
    pub(crate) log: Log,
    /// Faults that strace injects.
    pub(crate) inject: &'static [&'static str],
    /// Networks that it can take place in. The first that can be made is used. Without any it is the machine's
    /// loopback.
    pub(crate) network: &'static [Network],
    /// How many times as long as usual the storm lasts.
    pub(crate) length: u32,
    /// Whether the storm itself may cut off connections.
    pub(crate) cuts_off: bool,
    /// The most that the healthy peers' echoes may take: half of them, 99 in 100, and the slowest.
    pub(crate) latencies: [Duration; 3],
    /// How many bytes more memory the server may have in the storm than before it.
    pub(crate) growth: Option<u64>,
    pub(crate) storm: fn(&mut Storm<'_>) -> Result<()>,
    /// What must hold when the server has ended after the storm, apart from a log that adds up.
    pub(crate) after: fn(&Ending) -> Result<()>,
}

impl Scenario {
    /// Latencies of a scenario in which everything must come back, however slowly.
    pub(crate) const SLOWLY: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(15)];

    /// What most scenarios have in common.
    pub(crate) const PLAIN: Scenario = Scenario {
        name: "",
        story: "",
        arguments: &[],
        descriptors: None,
        log: Log::Off,
        inject: &[],
        network: &[],
        length: 1,
        cuts_off: false,
        latencies: [Duration::from_millis(50), Duration::from_millis(500), Duration::from_secs(3)],
        growth: None,
        storm: |_| Ok(()),
        after: |_| Ok(()),
    };

    /// Whether it needs something that a machine of this system may not have. Some Linux machines lack strace or forbid
    /// namespaces, and only Linux is sure to have certain devices.
    pub fn may_be_skipped(&self) -> bool {
        let needs_device = matches!(self.log, Log::Device(_)) && !cfg!(target_os = "linux");
        // Some containers have a hard limit of a thousand descriptors.
        let needs_room = self.descriptors.is_some_and(|limit| limit > 256);
        let needs_permission = !self.inject.is_empty() || !self.network.is_empty() || self.log == Log::TinyDisk;
        needs_permission || needs_device || needs_room
    }

    /// How many healthy peers there are beside the storm, which needs most of the descriptors.
    pub(crate) fn healthy_peers(&self) -> usize {
        if self.descriptors.is_some_and(|limit| limit < 64) { 2 } else { 8 }
    }
}

/// A storm under way, with what its scenario works with.
pub(crate) struct Storm<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) server: &'a mut Server,
    pub(crate) healthy: &'a Healthy,
    pub(crate) random: Random,
    /// When it ends.
    pub(crate) until: Instant,
    /// Whether this is the short form, with fewer of everything.
    pub(crate) short: bool,
    /// How many connections the suite's own descriptors allow.
    pub(crate) room: usize,
    pub(crate) folder: &'a Path,
    /// Figures for the line that reports this scenario.
    pub(crate) figures: Vec<String>,
}

impl Storm<'_> {
    pub(crate) fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    /// `many`, or `few` in the short form, but no more than there are descriptors for.
    pub(crate) fn number(&self, many: usize, few: usize) -> usize {
        (if self.short { few } else { many }).min(self.room)
    }

    pub(crate) fn report(&mut self, figure: String) {
        self.figures.push(figure);
    }

    pub(crate) fn connect(&self, sockets: Sockets) -> Result<Peer, Trouble> {
        Peer::connect(self.server.address(), sockets)
    }

    /// Connects `count` peers, no faster than the server accepts them.
    pub(crate) fn flock(&self, count: usize, sockets: Sockets) -> Result<Vec<Peer>> {
        let mut peers = Vec::with_capacity(count);
        while peers.len() < count {
            if !peers.is_empty() && peers.len() % (WAITING / 2) == 0 {
                // A server that prints its statistics has had a turn, which accepts more than this (ACCEPTS_PER_TURN of
                // parrot-server) where few may wait, if there are descriptors.
                self.server.connections()?;
            }
            peers.push(self.connect(sockets)?);
        }
        Ok(peers)
    }

    /// Passes over a cut-off if the storm may cut off connections, and returns any other trouble.
    pub(crate) fn tolerate(&self, trouble: Trouble) -> Result<(), Trouble> {
        if self.scenario.cuts_off && trouble.is_cut_off() { Ok(()) } else { Err(trouble) }
    }

    /// Demands that the server uses next to no processor time while the healthy peers send nothing.
    pub(crate) fn server_rests(&mut self) -> Result<()> {
        let rest = self.healthy.quietly(|| rest(self.server))?;
        self.figures.extend(rest.map(|share| format!("{share} meanwhile")));
        Ok(())
    }
}

/// Demands that the server uses next to no processor time while it has nothing to do. Returns the share, where the
/// system shows it.
pub(crate) fn rest(server: &Server) -> Result<Option<String>> {
    let window = Duration::from_secs(1);
    let Some(before) = server.usage() else { return Ok(None) };
    std::thread::sleep(window);
    let Some(after) = server.usage() else { return Ok(None) };
    let used = after.processor.saturating_sub(before.processor);
    let share = used.as_secs_f64() / window.as_secs_f64() * 100.0;
    ensure!(share <= 2.0, "with nothing to do the server used {share:.1} % of a processor");
    Ok(Some(format!("processor {share:.2} %")))
}
