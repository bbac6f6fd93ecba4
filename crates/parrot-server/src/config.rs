//! The options of a server.

use std::time::Duration;

use crate::listen::Listen;

/// The options of a [`Server`](crate::Server). Start from [`Config::default`] and change what differs.
///
/// ```
/// use std::time::Duration;
/// use parrot_server::{Addresses, Config, Limits, Listen};
///
/// let config = Config {
///     listen: vec![Listen::tcp(Addresses::localhost(1512)), Listen::unix("/run/parrot.sock")],
///     limits: Limits { idle_timeout: Some(Duration::from_secs(60)), ..Limits::default() },
///     ..Config::default()
/// };
/// assert_eq!(config.limits.max_output, 128 * 1024);
/// ```
#[derive(Debug)]
pub struct Config {
    /// What to listen on. Empty (the default) means TCP on all addresses with any free port, the same for all of them.
    pub listen: Vec<Listen>,
    /// How many connections the backlog may hold. `None` (the default) means as many as the system allows. The system reduces
    /// larger values to its own limit without an error (`net.core.somaxconn` on Linux, `kern.ipc.somaxconn` or
    /// `kern.ipc.soacceptqueue` elsewhere).
    pub backlog: Option<u32>,
    /// Whether other processes may listen on the same addresses and ports, each with a share of the connections and
    /// datagrams. Only Linux and FreeBSD spread them, so elsewhere this is an error.
    pub reuse_port: bool,
    /// The permissions of the files of Unix sockets, such as `0o660`. `None` (the default) leaves them to the umask. Whoever
    /// may write to the file can connect.
    pub unix_mode: Option<u32>,
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
            listen: Vec::new(),
            backlog: None,
            reuse_port: false,
            unix_mode: None,
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
