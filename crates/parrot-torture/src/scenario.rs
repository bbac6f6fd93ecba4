//! What a scenario is: how the server is started, what storm it is put through, and what must hold beside and after it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::healthy::Healthy;
use crate::peer::{Peer, Sockets, Trouble};
use crate::random::Random;
use crate::server::{Ending, Log, Server};

/// How many connections may wait to be accepted. macOS and the BSDs let 128 wait by default (kern.ipc.somaxconn,
/// kern.ipc.soacceptqueue) and reset what is more than one and a half times that.
pub(crate) const WAITING: usize = if cfg!(target_os = "linux") { 4096 } else { 100 };

/// A network of a scenario's own: Linux.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network {
    /// What makes it what it is.
    pub(crate) name: &'static str,
    /// Commands that make it.
    pub(crate) commands: &'static [&'static [&'static str]],
}

/// One scenario of the suite.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What happens in it, in a sentence.
    pub story: &'static str,
    /// Arguments of the server.
    pub(crate) arguments: &'static [&'static str],
    /// The server's limit of descriptors; `None`: that of the suite.
    pub(crate) descriptors: Option<u32>,
    pub(crate) log: Log,
    /// Faults for strace to inject.
    pub(crate) inject: &'static [&'static str],
    /// Networks it can take place in, the first of which that can be made is taken; none: the machine's own loopback.
    pub(crate) network: &'static [Network],
    /// How many times the storm's usual time it lasts.
    pub(crate) length: u32,
    /// Whether the storm itself may cut off conversations.
    pub(crate) cuts_off: bool,
    /// What half of the healthy peers' echoes, 99 in 100 and the slowest may take.
    pub(crate) latencies: [Duration; 3],
    /// Bytes of memory the server may have more in the storm than before it, at most.
    pub(crate) growth: Option<u64>,
    pub(crate) storm: fn(&mut Storm<'_>) -> Result<()>,
    /// What else must hold when the server has ended after the storm, beside a log that adds up.
    pub(crate) after: fn(&Ending) -> Result<()>,
}

impl Scenario {
    /// Latencies where what counts is that all comes back, not how fast.
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
}

impl Scenario {
    /// Whether it needs what not every machine of this system has: strace or namespaces, which some Linux machines lack
    /// or do not allow, or a device that only Linux is sure to have.
    pub fn may_be_skipped(&self) -> bool {
        let needs_device = matches!(self.log, Log::Device(_)) && !cfg!(target_os = "linux");
        // A hard limit of a thousand descriptors is found here and there, in containers.
        let needs_room = self.descriptors.is_some_and(|limit| limit > 256);
        let needs_leave = !self.inject.is_empty() || !self.network.is_empty() || self.log == Log::TinyDisk;
        needs_leave || needs_device || needs_room
    }

    /// How many healthy peers there are beside its storm: as many as leave the storm a part of the descriptors.
    pub(crate) fn healthy_peers(&self) -> usize {
        if self.descriptors.is_some_and(|limit| limit < 64) { 2 } else { 8 }
    }
}

/// A storm under way: what its scenario works with.
pub(crate) struct Storm<'a> {
    pub(crate) server: &'a mut Server,
    pub(crate) healthy: &'a Healthy,
    pub(crate) healthy_peers: usize,
    pub(crate) random: Random,
    /// When it is to blow over.
    pub(crate) until: Instant,
    /// In the short form everything is less.
    pub(crate) short: bool,
    /// Connections the suite's own descriptors allow.
    pub(crate) room: usize,
    /// The server's limit of descriptors, if the scenario sets one.
    pub(crate) descriptors: Option<u32>,
    pub(crate) cuts_off: bool,
    pub(crate) inject: &'static [&'static str],
    pub(crate) folder: &'a std::path::Path,
    /// What the line of this scenario tells.
    pub(crate) figures: &'a mut Vec<String>,
}

impl Storm<'_> {
    pub(crate) fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    /// `many`, or in the short form `few`, or what there are descriptors for.
    pub(crate) fn number(&self, many: usize, few: usize) -> usize {
        (if self.short { few } else { many }).min(self.room)
    }

    pub(crate) fn tell(&mut self, figure: String) {
        self.figures.push(figure);
    }

    pub(crate) fn connect(&self, sockets: Sockets) -> Result<Peer, Trouble> {
        Peer::connect(self.server.address(), sockets)
    }

    /// So many peers, connected no faster than the server accepts them.
    pub(crate) fn flock(&self, count: usize, sockets: Sockets) -> Result<Vec<Peer>> {
        let mut peers = Vec::with_capacity(count);
        while peers.len() < count {
            if !peers.is_empty() && peers.len() % (WAITING / 2) == 0 {
                // Who answers has had a turn, and accepts 64 in one (ACCEPTS_PER_TURN of parrot-server): where few may
                // wait, all of these are accepted then, unless there is no descriptor for them.
                self.server.connections()?;
            }
            peers.push(self.connect(sockets)?);
        }
        Ok(peers)
    }

    /// Whether a conversation went well; where the storm may cut off conversations, being cut off is well too.
    pub(crate) fn went_well(&self, outcome: Result<(), Trouble>) -> Result<bool> {
        match outcome {
            Ok(()) => Ok(true),
            Err(trouble) if self.cuts_off && trouble.is_cut_off() => Ok(false),
            Err(trouble) => Err(trouble.into()),
        }
    }

    /// Demands that the server, left alone by everyone who is well, uses next to no processor time.
    pub(crate) fn server_rests(&mut self) -> Result<()> {
        let rest = self.healthy.quietly(|| rest(self.server))?;
        self.figures.extend(rest.map(|share| format!("{share} meanwhile")));
        Ok(())
    }
}

/// Demands that the server uses next to no processor time while nobody has anything for it; says how much it was, where
/// the system tells.
pub(crate) fn rest(server: &Server) -> Result<Option<String>> {
    let window = Duration::from_secs(1);
    let Some(before) = server.usage() else { return Ok(None) };
    std::thread::sleep(window);
    let Some(after) = server.usage() else { return Ok(None) };
    let used = after.processor.saturating_sub(before.processor);
    let share = used.as_secs_f64() / window.as_secs_f64() * 100.0;
    if share > 2.0 {
        bail!("with nothing to do the server used {share:.1} % of a processor");
    }
    Ok(Some(format!("processor {share:.2} %")))
}
