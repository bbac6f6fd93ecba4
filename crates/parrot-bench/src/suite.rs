//! What is measured: the suites, and which servers take part in each.

use std::borrow::Cow;
use std::time::Duration;

use parrot_load::{Close, Length, Plan};

/// One load, under which servers are compared.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Suite {
    /// What `--only` calls it.
    pub(crate) name: Cow<'static, str>,
    /// What the report calls it.
    pub(crate) title: Cow<'static, str>,
    pub(crate) connections: usize,
    pub(crate) idle: usize,
    pub(crate) size: usize,
    pub(crate) pipeline: usize,
    /// A connection for each message.
    pub(crate) reconnect: bool,
    pub(crate) field: Field,
}

/// Which servers take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// All of them, and Parrot with its logs on.
    Logs,
    /// All of them, logging off.
    All,
    /// Those that stand for a way to wait for sockets, to keep the ladders short.
    Few,
    /// Those, and Go copying inside the kernel.
    FewAndCopy,
}

const PLAIN: Suite = Suite {
    name: Cow::Borrowed(""),
    title: Cow::Borrowed(""),
    connections: 50,
    idle: 0,
    size: 12,
    pipeline: 1,
    reconnect: false,
    field: Field::Few,
};

/// Every suite, in the order of the report.
pub(crate) const SUITES: &[Suite] = &[
    Suite {
        name: Cow::Borrowed("c1"),
        title: Cow::Borrowed("1 connection"),
        connections: 1,
        field: Field::All,
        ..PLAIN
    },
    Suite { name: Cow::Borrowed("c50"), title: Cow::Borrowed("50 connections"), field: Field::Logs, ..PLAIN },
    Suite {
        name: Cow::Borrowed("c1000"),
        title: Cow::Borrowed("1,000 connections"),
        connections: 1000,
        field: Field::Logs,
        ..PLAIN
    },
    Suite {
        name: Cow::Borrowed("c10000"),
        title: Cow::Borrowed("10,000 connections"),
        connections: 10_000,
        field: Field::All,
        ..PLAIN
    },
    Suite {
        name: Cow::Borrowed("idle"),
        title: Cow::Borrowed("10,000 idle connections and 50 active"),
        idle: 10_000,
        field: Field::All,
        ..PLAIN
    },
    Suite {
        name: Cow::Borrowed("connect"),
        title: Cow::Borrowed("a connection for each message, 50 at once"),
        reconnect: true,
        field: Field::All,
        ..PLAIN
    },
    Suite { name: Cow::Borrowed("size-1k"), title: Cow::Borrowed("messages of 1 KiB"), size: 1 << 10, ..PLAIN },
    Suite { name: Cow::Borrowed("size-16k"), title: Cow::Borrowed("messages of 16 KiB"), size: 16 << 10, ..PLAIN },
    Suite {
        name: Cow::Borrowed("size-128k"),
        title: Cow::Borrowed("messages of 128 KiB"),
        connections: 10,
        size: 128 << 10,
        ..PLAIN
    },
    Suite {
        name: Cow::Borrowed("size-1m"),
        title: Cow::Borrowed("messages of 1 MiB"),
        connections: 10,
        size: 1 << 20,
        field: Field::FewAndCopy,
        ..PLAIN
    },
    Suite { name: Cow::Borrowed("pipeline-4"), title: Cow::Borrowed("4 messages under way"), pipeline: 4, ..PLAIN },
    Suite { name: Cow::Borrowed("pipeline-16"), title: Cow::Borrowed("16 messages under way"), pipeline: 16, ..PLAIN },
    Suite { name: Cow::Borrowed("pipeline-64"), title: Cow::Borrowed("64 messages under way"), pipeline: 64, ..PLAIN },
];

/// What `--quick` runs.
pub(crate) const QUICK: &[&str] = &["c50", "c1000", "c10000", "size-1m", "pipeline-16"];

/// Addresses that a connection for each message comes from. Linux has all of 127.0.0.0/8 on loopback, so that the ports
/// in `TIME_WAIT` are spread; elsewhere the client resets its connections instead, which leaves none.
const SOURCES: [[u8; 4]; 4] = [[127, 0, 0, 1], [127, 0, 0, 2], [127, 0, 0, 3], [127, 0, 0, 4]];

impl Suite {
    /// 12-byte messages on so many connections.
    pub(crate) fn of_connections(connections: usize) -> Suite {
        let (name, title) = (format!("c{connections}"), counted(connections));
        Suite { name: name.into(), title: title.into(), connections, field: Field::Logs, ..PLAIN }
    }

    /// The suite as a load on `target`.
    pub(crate) fn plan(
        &self,
        target: std::net::SocketAddr,
        warmup: Duration,
        window: Duration,
        threads: usize,
    ) -> Plan {
        let several = cfg!(target_os = "linux") && self.reconnect;
        Plan {
            connections: self.connections,
            idle: self.idle,
            size: self.size,
            pipeline: self.pipeline,
            threads: threads.clamp(1, self.connections),
            reconnect: self.reconnect.then_some(if several { Close::Finish } else { Close::Reset }),
            sources: if several { SOURCES.map(Into::into).to_vec() } else { Vec::new() },
            warmup,
            length: Length::Time(window),
            ..Plan::new(target)
        }
    }

    /// In words, what the load is.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("closed loop, {}, {} bytes a message", counted(self.connections), self.size);
        if self.pipeline > 1 {
            text.push_str(&format!(", {} messages under way on each", self.pipeline));
        }
        if self.idle > 0 {
            text.push_str(&format!(", {} more connections that send nothing", self.idle));
        }
        if self.reconnect {
            text.push_str(if cfg!(target_os = "linux") {
                ", a new connection for each message (from four loopback addresses, ended by the client in the orderly way)"
            } else {
                ", a new connection for each message (ended by a reset from the client)"
            });
        }
        text
    }
}

/// So many connections, in words.
fn counted(connections: usize) -> String {
    format!("{connections} connection{}", if connections == 1 { "" } else { "s" })
}
