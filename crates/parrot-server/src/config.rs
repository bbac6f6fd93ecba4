//! What a server is told before it starts.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// The options of a [`Server`](crate::Server); start from [`Config::default`] and change what differs.
pub struct Config {
    /// Addresses to listen on. Empty (the default) means `0.0.0.0` and `::`, and then a machine without IPv6 is no
    /// error. IPv6 sockets take IPv6 connections only, on every system.
    pub addresses: Vec<IpAddr>,
    /// Port to listen on; 0 (the default) means any free one, the same for all addresses.
    pub port: u16,
    /// How many connections may wait to be accepted; `None` (the default) means as many as the system allows. Larger
    /// values than the system's own limit are cut by the system without a word (`net.core.somaxconn` on Linux,
    /// `kern.ipc.somaxconn` or `kern.ipc.soacceptqueue` elsewhere).
    pub backlog: Option<u32>,
    /// Above this many connections new ones are accepted and closed at once; `None` (the default) means no limit but
    /// the descriptors.
    pub max_connections: Option<usize>,
    /// Bytes that may be buffered for one connection; a peer that does not read its echo is then not read from either.
    /// It is also the most that one receive call takes. 128 KiB by default.
    pub max_output: usize,
    /// Bytes that may be buffered over all connections; at the cap, connections without a buffer wait to be read until
    /// one is free. 256 MiB by default.
    pub max_buffered: usize,
    /// A connection with no byte in or out for this long is closed; `None` (the default) means never.
    pub idle_timeout: Option<Duration>,
    /// How long a drain may take before the connections left are closed. Five seconds by default.
    pub drain_timeout: Duration,
    /// After a turn with events, how long the loop asks for more without sleeping: lower latency for a core's whole
    /// attention. `None` (the default) sleeps at once.
    pub busy_poll: Option<Duration>,
    /// Whether [`Server::bind`](crate::Server::bind) raises the process's soft limit of descriptors to the hard one
    /// (the default).
    pub raise_descriptor_limit: bool,
    /// Called from the loop when SIGHUP arrives, to reopen a log file; it should return soon. Only
    /// [`Server::run_with_signals`](crate::Server::run_with_signals) sees signals.
    pub on_hangup: Option<Box<dyn FnMut() + Send>>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            addresses: Vec::new(),
            port: 0,
            backlog: None,
            max_connections: None,
            max_output: 128 * 1024,
            max_buffered: 256 * 1024 * 1024,
            idle_timeout: None,
            drain_timeout: Duration::from_secs(5),
            busy_poll: None,
            raise_descriptor_limit: true,
            on_hangup: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("addresses", &self.addresses)
            .field("port", &self.port)
            .field("backlog", &self.backlog)
            .field("max_connections", &self.max_connections)
            .field("max_output", &self.max_output)
            .field("max_buffered", &self.max_buffered)
            .field("idle_timeout", &self.idle_timeout)
            .field("drain_timeout", &self.drain_timeout)
            .field("busy_poll", &self.busy_poll)
            .field("raise_descriptor_limit", &self.raise_descriptor_limit)
            .field("on_hangup", &self.on_hangup.as_ref().map(|_| "FnMut()"))
            .finish()
    }
}
