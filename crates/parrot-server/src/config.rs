//! The options of a server.

use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;
use parrot_conn::Template;
use parrot_conn::fault::FaultPlan;

use crate::listen::Listen;
use crate::peer::Peer;

/// A shorter timeout would expire again as soon as it has been handled.
const LEAST_IDLE_TIMEOUT: Duration = Duration::from_millis(1);

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
    /// What holds for the listeners [with PROXY protocol](Listen::with_proxy_protocol).
    pub proxy: ProxyProtocol,
    /// What the server sends beside the echo.
    pub replies: Replies,
    /// Which datagrams are answered.
    pub udp: UdpRules,
    /// The faults of all listeners that have [none of their own](Listen::with_faults). `None` (the default) means that the
    /// server is a faultless echo.
    pub faults: Option<FaultPlan>,
}

/// What holds for the connections that begin with a PROXY protocol header.
///
/// A load balancer sends the header to report the client's address, which the log and the events then show. A connection
/// is closed if its header is not valid or does not come in time. A header is never echoed. The rules are those of
/// `doc/proxy-protocol.txt` in HAProxy's repository, as [`ProxyHeader`](parrot_conn::ProxyHeader) lists them.
#[derive(Debug, Clone)]
pub struct ProxyProtocol {
    /// Whether every listener expects a header, not only those [that are made so](Listen::with_proxy_protocol).
    pub everywhere: bool,
    /// How long a header may take to arrive. Three seconds by default.
    pub timeout: Duration,
    /// Who may send a header. Connections from other addresses are closed at once, because their headers would be forged.
    /// Empty (the default) means everybody. Peers of Unix sockets may always send one, because the permissions of the
    /// socket's file say who may connect.
    pub from: Vec<IpNet>,
}

/// What a server sends beside the echo, so that a client learns who has answered. Nothing by default.
#[derive(Debug, Clone, Default)]
pub struct Replies {
    /// Sent first on every stream connection.
    pub greeting: Option<Template>,
    /// Sent before each message, and at the start of each datagram. Even an empty datagram draws all of it, and its source
    /// can be forged, so set [`UdpRules::rate`] too.
    pub prefix: Option<Template>,
}

/// The options that a server follows from turn to turn, and that a [handle](crate::Handle::set_settings) can replace.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What connections may take up.
    pub limits: Limits,
    /// What holds for connections with PROXY headers.
    pub proxy: ProxyProtocol,
    /// What is sent beside the echo.
    pub replies: Replies,
    /// Which datagrams are answered.
    pub udp: UdpRules,
    /// The faults of listeners that have none of their own.
    pub faults: Option<FaultPlan>,
}

impl Settings {
    /// The settings as the loop follows them.
    pub(crate) fn effective(mut self) -> Settings {
        let idle_timeout = &mut self.limits.idle_timeout;
        *idle_timeout = idle_timeout.map(|idle| idle.max(LEAST_IDLE_TIMEOUT));
        self
    }
}

/// Which datagrams are answered.
///
/// The source of a datagram can be forged, and two services that answer each other would never stop. So a datagram from
/// certain ports and addresses is [refused](crate::Refusal), and `rate` bounds what a forged source can be sent. It also
/// slows down two services on other ports that answer each other.
#[derive(Debug, Clone, Copy, Default)]
pub struct UdpRules {
    /// Whether datagrams from ports below 1024 and from 2049 are answered, where services are that may answer in turn.
    pub answer_low_ports: bool,
    /// The most answers in a second to the addresses of one network, which is a /24 of IPv4 or a /56 of IPv6. `None` (the
    /// default) means no bound.
    pub rate: Option<NonZeroU32>,
}

/// How much memory and time a server's connections may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Above this many connections, a new one is accepted and closed at once. `None` (the default) means that only the
    /// descriptors limit them.
    pub max_connections: Option<usize>,
    /// Bytes that may be buffered for one connection. A peer that does not read its echo is then not read from either. One
    /// receive call takes no more than this. 128 KiB by default.
    ///
    /// A peer that takes everything at once gets [four times as much](Limits::max_stream_output).
    pub max_output: usize,
    /// Bytes that may be buffered over all connections. At this limit, connections without a buffer wait until one is free.
    /// 256 MiB by default.
    pub max_buffered: usize,
    /// A connection with no byte in or out for this long is closed. `None` (the default) means never. Shorter times than a
    /// millisecond count as one. A peer that has sent something that the server has not received yet is not idle.
    pub idle_timeout: Option<Duration>,
    /// How long connections are still accepted and served after SIGTERM, before the drain begins. In this time the
    /// [stage](crate::Handle::stage) is [`Leaving`](crate::Stage::Leaving), so that load balancers send new connections
    /// elsewhere. SIGINT and [`Handle::drain`](crate::Handle::drain) begin the drain at once. Zero by default.
    pub drain_delay: Duration,
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
            proxy: ProxyProtocol::default(),
            replies: Replies::default(),
            udp: UdpRules::default(),
            faults: None,
        }
    }
}

impl Default for ProxyProtocol {
    fn default() -> ProxyProtocol {
        ProxyProtocol { everywhere: false, timeout: Duration::from_secs(3), from: Vec::new() }
    }
}

impl ProxyProtocol {
    /// Whether this peer may send a header.
    pub(crate) fn permits(&self, peer: &Peer) -> bool {
        match peer.address() {
            Some(address) => self.from.is_empty() || self.from.iter().any(|from| from.contains(&address.ip())),
            None => true,
        }
    }
}

impl Replies {
    /// Whether a server echoes and sends nothing else.
    pub(crate) fn are_plain(&self) -> bool {
        self.greeting.is_none() && self.prefix.is_none()
    }

    /// Whether a text shows the address that the peer has connected to.
    pub(crate) fn use_local(&self) -> bool {
        [&self.greeting, &self.prefix].into_iter().flatten().any(Template::uses_local)
    }
}

impl Limits {
    /// Bytes that may be buffered for a connection whose peer has taken 64 full buffers at once. This is four times
    /// `max_output`, or just `max_output` if that is above 128 KiB.
    ///
    /// Larger buffers make a stream cheaper (docs/benchmarks.md). A peer has them until it falls behind, and for the bytes that
    /// it then leaves unread. All of them together take at most half of `max_buffered`.
    ///
    /// ```
    /// use parrot_server::Limits;
    ///
    /// let limits = |max_output| Limits { max_output, ..Limits::default() };
    /// assert_eq!(limits(128 * 1024).max_stream_output(), 512 * 1024);
    /// assert_eq!(limits(200 * 1024).max_stream_output(), 200 * 1024);
    /// ```
    pub fn max_stream_output(&self) -> usize {
        const MOST_THAT_GROWS: usize = 128 * 1024;
        if self.max_output <= MOST_THAT_GROWS { 4 * self.max_output } else { self.max_output }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_connections: None,
            max_output: 128 * 1024,
            max_buffered: 256 * 1024 * 1024,
            idle_timeout: None,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(5),
            busy_poll: None,
        }
    }
}
