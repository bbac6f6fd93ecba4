//! The suites, which are the loads to measure, and the servers that take part in each.

use std::time::Duration;

use parrot_load::{Close, Length, Plan, Target};
use serde::{Deserialize, Serialize};

/// The kind of socket that a load uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    #[default]
    Tcp,
    /// Unix stream sockets.
    Unix,
    Udp,
}

/// One load under which servers are compared.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Suite {
    /// Its name for `--only`.
    pub(crate) name: String,
    /// Its name in the report.
    pub(crate) title: String,
    pub(crate) transport: Transport,
    /// Connections, or clients with a socket of their own over UDP.
    pub(crate) connections: usize,
    pub(crate) idle: usize,
    pub(crate) size: usize,
    pub(crate) pipeline: usize,
    /// Whether each message has a connection of its own.
    pub(crate) reconnect: bool,
    pub(crate) field: Field,
}

/// Which servers take part in a suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// All of them, and Parrot with its logs on.
    Logs,
    /// All of them, with logging off.
    All,
    /// Those, and Parrot and the bare loop as they are when they never sleep.
    Spinning,
    /// One for each way to wait for sockets, which keeps the series of sizes and depths short.
    Few,
    /// Those, and Go copying inside the kernel.
    FewAndCopy,
    /// One and two processes of Parrot, and tokio with its threads.
    Processes,
    /// Load generators in place of servers, all on one server.
    Clients,
}

/// 12-byte messages on 50 connections for few servers, which each suite changes as it needs.
fn suite(name: &str, title: &str) -> Suite {
    Suite {
        name: name.into(),
        title: title.into(),
        transport: Transport::Tcp,
        connections: 50,
        idle: 0,
        size: 12,
        pipeline: 1,
        reconnect: false,
        field: Field::Few,
    }
}

/// The suites that `--quick` runs.
pub(crate) const QUICK: &[&str] = &["c50", "c1000", "c10000", "size-1m", "pipeline-16", "unix", "udp"];

/// The load that saturates a server over UDP, with at most 128 datagrams under way.
///
/// A server that falls behind loses none of them. The default buffer of a socket on Linux (`net.core.rmem_default`,
/// 208 KiB) has room for 256, because each takes 832 bytes of it however short it is (measured on Linux 6.18).
const UDP_CLIENTS: usize = 16;
const UDP_PIPELINE: usize = 8;

/// How the names of suites begin in which load generators are compared.
pub(crate) const CLIENTS: &str = "client-";

/// The connections of a large suite.
const LARGE: usize = 5000;

/// How long a client waits before it takes a datagram for lost and sends the next one.
///
/// It is long for loopback, and short enough that a server which loses many datagrams still answers some.
const DATAGRAM_TIMEOUT: Duration = Duration::from_millis(200);

/// Source addresses of the suite that opens a connection for each message.
///
/// They spread the ports in `TIME_WAIT` on Linux, where all of 127.0.0.0/8 is on loopback. On other systems the client
/// resets its connections, which leaves no port in that state.
const SOURCES: [[u8; 4]; 4] = [[127, 0, 0, 1], [127, 0, 0, 2], [127, 0, 0, 3], [127, 0, 0, 4]];

impl Suite {
    /// Every suite, in the order of the report.
    pub(crate) fn all() -> Vec<Suite> {
        use Field::{All, Clients, FewAndCopy, Logs, Processes, Spinning};
        use Transport::{Udp, Unix};
        vec![
            Suite { connections: 1, field: Spinning, ..suite("c1", "1 connection") },
            Suite { field: Logs, ..suite("c50", "50 connections") },
            Suite { connections: 1000, field: Logs, ..suite("c1000", "1,000 connections") },
            Suite { connections: 10_000, field: All, ..suite("c10000", "10,000 connections") },
            Suite { idle: 10_000, field: All, ..suite("idle", "10,000 idle connections and 50 active") },
            Suite { reconnect: true, field: All, ..suite("connect", "a connection for each message, 50 at once") },
            Suite { size: 1 << 10, ..suite("size-1k", "messages of 1 KiB") },
            Suite { size: 16 << 10, ..suite("size-16k", "messages of 16 KiB") },
            Suite { connections: 10, size: 128 << 10, ..suite("size-128k", "messages of 128 KiB") },
            Suite { connections: 10, size: 1 << 20, field: FewAndCopy, ..suite("size-1m", "messages of 1 MiB") },
            Suite { pipeline: 4, ..suite("pipeline-4", "4 messages under way") },
            Suite { pipeline: 16, ..suite("pipeline-16", "16 messages under way") },
            Suite { pipeline: 64, ..suite("pipeline-64", "64 messages under way") },
            Suite { transport: Unix, field: All, ..suite("unix", "50 connections to a Unix socket") },
            Suite { transport: Unix, size: 16 << 10, ..suite("unix-16k", "messages of 16 KiB through a Unix socket") },
            Suite { transport: Udp, connections: 1, field: All, ..suite("udp-1", "UDP, 1 client") },
            Suite {
                transport: Udp,
                connections: UDP_CLIENTS,
                pipeline: UDP_PIPELINE,
                field: All,
                ..suite("udp", "UDP, 16 clients with 8 datagrams under way each")
            },
            Suite { connections: 1000, field: Processes, ..suite("reuse-port", "1,000 connections, two processes") },
            Suite { field: Clients, ..suite("client-c50", "load generators, 50 connections") },
            Suite { connections: 1000, field: Clients, ..suite("client-c1000", "load generators, 1,000 connections") },
        ]
    }

    /// 12-byte messages on this number of connections.
    pub(crate) fn of_connections(connections: usize) -> Suite {
        Suite {
            connections,
            field: Field::Logs,
            ..suite(&format!("c{connections}"), &counted(connections, "connection"))
        }
    }

    /// The suite as a load on `target`.
    pub(crate) fn plan(&self, target: Target, warmup: Duration, window: Duration, threads: usize) -> Plan {
        let several = cfg!(target_os = "linux") && self.reconnect;
        Plan {
            connections: self.connections,
            idle: self.idle,
            size: self.size,
            pipeline: self.pipeline,
            threads: threads.clamp(1, self.connections),
            reconnect: self.reconnect.then_some(if several { Close::Finish } else { Close::Reset }.after(1)),
            sources: if several { SOURCES.map(|source| (source, 0).into()).to_vec() } else { Vec::new() },
            warmup,
            datagram_timeout: DATAGRAM_TIMEOUT,
            length: Length::Time(window),
            ..Plan::new(target)
        }
    }

    /// Whether load generators are compared in it, and not servers.
    pub(crate) fn is_of_clients(&self) -> bool {
        self.field == Field::Clients
    }

    /// Whether opening its connections takes about as long as a round of a fine measurement.
    pub(crate) fn is_large(&self) -> bool {
        self.connections + self.idle >= LARGE
    }

    /// Whether there are connections that stay open, so that memory can be divided by them.
    pub(crate) fn keeps_connections(&self) -> bool {
        !self.reconnect && self.transport != Transport::Udp
    }

    /// The load in words.
    pub(crate) fn describe(&self) -> String {
        let (through, client, message) = match self.transport {
            Transport::Tcp => ("", "connection", "message"),
            Transport::Unix => (" through a Unix socket", "connection", "message"),
            Transport::Udp => (" over UDP", "client", "datagram"),
        };
        let clients = counted(self.connections, client);
        let mut text = format!("closed loop{through}, {clients}, {} bytes a {message}", self.size);
        if self.is_of_clients() {
            text.push_str(", on one Parrot");
        }
        if self.pipeline > 1 {
            text.push_str(&format!(", {} {message}s under way on each", self.pipeline));
        }
        if self.idle > 0 {
            text.push_str(&format!(", {} more connections that send nothing", self.idle));
        }
        if self.reconnect {
            text.push_str(if cfg!(target_os = "linux") {
                ", a new connection for each message (from four loopback addresses, shut down by the client)"
            } else {
                ", a new connection for each message (reset by the client)"
            });
        }
        text
    }
}

/// `1 core`, `2 cores`.
pub(crate) fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
