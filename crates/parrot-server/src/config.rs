//! The options of a server.

use std::net::SocketAddr;
use std::time::Duration;

/// The options of a [`Server`](crate::Server). Start from [`Config::default`] and change what differs.
///
/// ```
/// use std::net::Ipv6Addr;
/// use std::time::Duration;
/// use parrot_server::{Config, Limits};
///
/// let config = Config {
///     addresses: vec![(Ipv6Addr::LOCALHOST, 0).into()],
///     limits: Limits { idle_timeout: Some(Duration::from_secs(60)), ..Limits::default() },
///     ..Config::default()
/// };
/// assert_eq!(config.limits.max_output, 128 * 1024);
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses to listen on. A repeated one counts once. Empty (the default) means `0.0.0.0` and `::`, and then a machine
    /// without IPv6 is no error. IPv6 sockets accept IPv6 connections only, on every system. A link-local address needs the
    /// number of its interface, its scope.
    pub addresses: Vec<SocketAddr>,
    /// Port to listen on, for every address whose own port is 0. If this is 0 (the default) too, any free port is used, the
    /// same for all of them.
    pub port: u16,
    /// How many connections the backlog may hold. `None` (the default) means as many as the system allows. The system reduces
    /// larger values to its own limit without an error (`net.core.somaxconn` on Linux, `kern.ipc.somaxconn` or
    /// `kern.ipc.soacceptqueue` elsewhere).
    pub backlog: Option<u32>,
    /// Whether [`Server::bind`](crate::Server::bind) raises the process's soft limit of descriptors to the hard one (the
    /// default).
    pub raise_descriptor_limit: bool,
    /// How long a connection may be quiet before the system probes whether its peer is still there (TCP keepalive). A peer
    /// that does not reply to three probes, a third of this time apart, is gone, and its connection ends with
    /// [`CloseReason::Reset`](crate::CloseReason::Reset). A quiet peer that is still there stays. Five minutes by default,
    /// `None` for no probes. From one second to about nine hours, shorter and longer times count as these. OpenBSD has one
    /// time for all sockets (`net.inet.tcp.keepidle`), so there this only switches probes on.
    pub keepalive: Option<Duration>,
    /// What connections may take up.
    pub limits: Limits,
}

/// How much memory and time a server's connections may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Above this many connections, a new one is accepted and closed at once. `None` (the default) means that only the
    /// descriptors limit them.
    pub max_connections: Option<usize>,
    /// Bytes that may be buffered for one connection. A peer that does not read its echo is then not read from either. One
    /// receive call takes no more than this. 128 KiB by default.
    pub max_output: usize,
    /// Bytes that may be buffered over all connections. At this limit, connections without a buffer wait until one is free.
    /// 256 MiB by default.
    pub max_buffered: usize,
    /// A connection with no byte in or out for this long is closed. `None` (the default) means never. Shorter times than a
    /// millisecond count as one. A peer that has sent something that the server has not received yet is not idle.
    pub idle_timeout: Option<Duration>,
    /// How long a drain may take before the connections that are left are closed. Five seconds by default.
    pub drain_timeout: Duration,
    /// How long the loop asks for more events without sleeping, after a turn that had some. It lowers latency and keeps one
    /// core busy. `None` (the default) sleeps at once.
    pub busy_poll: Option<Duration>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            addresses: Vec::new(),
            port: 0,
            backlog: None,
            raise_descriptor_limit: true,
            keepalive: Some(Duration::from_secs(5 * 60)),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_connections: None,
            max_output: 128 * 1024,
            max_buffered: 256 * 1024 * 1024,
            idle_timeout: None,
            drain_timeout: Duration::from_secs(5),
            busy_poll: None,
        }
    }
}
