//! What a server is told before it starts.

use std::net::IpAddr;
use std::time::Duration;

/// The options of a [`Server`](crate::Server); start from [`Config::default`] and change what differs.
///
/// ```
/// use std::net::Ipv6Addr;
/// use std::time::Duration;
/// use parrot_server::Config;
///
/// let config = Config {
///     addresses: vec![Ipv6Addr::LOCALHOST.into()],
///     idle_timeout: Some(Duration::from_secs(60)),
///     ..Config::default()
/// };
/// assert_eq!(config.max_output, 128 * 1024);
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses to listen on; a repeated one counts once. Empty (the default) means `0.0.0.0` and `::`, and then a
    /// machine without IPv6 is no error. IPv6 sockets take IPv6 connections only, on every system.
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
    /// A connection with no byte in or out for this long is closed; `None` (the default) means never. A millisecond at
    /// least: less is taken for that. Who has sent something that the server has not received yet is not idle.
    pub idle_timeout: Option<Duration>,
    /// How long a drain may take before the connections left are closed. Five seconds by default.
    pub drain_timeout: Duration,
    /// After a turn with events, how long the loop asks for more without sleeping: lower latency for a core's whole
    /// attention. `None` (the default) sleeps at once.
    pub busy_poll: Option<Duration>,
    /// Whether [`Server::bind`](crate::Server::bind) raises the process's soft limit of descriptors to the hard one
    /// (the default).
    pub raise_descriptor_limit: bool,
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
        }
    }
}
