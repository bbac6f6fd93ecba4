//! Which datagrams an echo server answers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Ports below this one belong to services of the system (`IPPORT_RESERVED`).
const FIRST_HIGH_PORT: u16 = 1024;

/// The port of NFS, the one service above them that OpenBSD's inetd leaves alone as well.
const NFS_PORT: u16 = 2049;

/// A datagram that was received, as far as the decision to answer it goes.
#[derive(Debug, Clone, Copy)]
pub struct Datagram {
    /// The address that it came from.
    pub source: SocketAddr,
    /// The address that it was sent to, if the system reports it.
    pub destination: Option<IpAddr>,
    /// Whether the system reports that it was sent to a broadcast or multicast address.
    ///
    /// On Linux, `ipi_addr` and `ipi_spec_dst` then differ (ip(7)). OpenBSD and NetBSD set `MSG_BCAST` or `MSG_MCAST`
    /// (recvmsg(2)). On other systems the destination must do, which does not show the broadcast address of a network.
    pub sent_to_many: bool,
}

/// The rules that keep an echo server out of endless loops and away from other hosts' networks.
///
/// UDP has no handshake, so anyone can send a datagram in the name of another host. Two services that answer everything
/// then answer each other for ever (CVE-1999-0103, CVE-2024-2169), and one datagram to a broadcast address could be
/// answered by every host of a network.
///
/// ```
/// use parrot_conn::{Datagram, DatagramRules, Refusal};
///
/// let rules = DatagramRules { own_ports: vec![1512], answer_low_ports: false };
/// let from = |source: &str| Datagram {
///     source: source.parse().expect("an address"),
///     destination: None,
///     sent_to_many: false,
/// };
/// assert_eq!(rules.check(&from("192.0.2.7:50000")), Ok(()));
/// assert_eq!(rules.check(&from("192.0.2.7:53")), Err(Refusal::LowPort));
/// assert_eq!(rules.check(&from("192.0.2.7:1512")), Err(Refusal::OwnPort));
/// ```
///
/// # What the rules do not see
///
/// - Another service on a port from 1024 up that answers everything, such as an echo server on a port of its own. The
///   two can be made to answer each other until a datagram is lost. A [`RateLimit`](crate::RateLimit) slows that down.
/// - The broadcast address of a network as the source, because it looks like a host's. The system refuses to send there
///   without `SO_BROADCAST`.
#[derive(Debug, Clone, Default)]
pub struct DatagramRules {
    /// The UDP ports that this server listens on.
    pub own_ports: Vec<u16>,
    /// Whether to answer the source ports of [`Refusal::LowPort`]. All other rules hold nevertheless.
    pub answer_low_ports: bool,
}

/// Why a datagram is not answered, in the order of the checks. A datagram with several reasons has the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// It was sent to a broadcast or multicast address.
    SentToMany,
    /// Its source cannot be the address of a host: multicast (224.0.0.0/4, ff00::/8), broadcast (255.255.255.255), or
    /// unspecified (0.0.0.0/8, ::). An IPv4-mapped IPv6 address counts as the IPv4 address.
    ///
    /// These are sources that RFC 1122, section 3.2.1.3, forbids. Loopback (127.0.0.0/8) is not among them here, because
    /// tests use it, and neither is 240.0.0.0/4. RFC 6890 reserves that block, but private networks use it, and a
    /// datagram to it reaches at most one host.
    Source,
    /// Its source port is 0, which no socket has.
    PortZero,
    /// Its source port is one that this server listens on with UDP. It would come from another server like this one,
    /// or in its name, and the two would answer each other for ever.
    OwnPort,
    /// Its source port is below 1024, or 2049 (NFS), as in OpenBSD's inetd (`dg_badinput` in usr.sbin/inetd/inetd.c).
    /// Services on such ports may answer everything. [`DatagramRules::answer_low_ports`] lifts this rule.
    LowPort,
    /// Its network has had its answers for the moment ([`RateLimit`](crate::RateLimit)). Only datagrams that pass all
    /// other rules count.
    RateLimited,
}

impl Refusal {
    /// Every reason, in declaration order.
    pub const ALL: [Refusal; 6] = [
        Refusal::SentToMany,
        Refusal::Source,
        Refusal::PortZero,
        Refusal::OwnPort,
        Refusal::LowPort,
        Refusal::RateLimited,
    ];

    /// The reason as a few lower-case words.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::SentToMany => "sent to many",
            Refusal::Source => "impossible source",
            Refusal::PortZero => "source port zero",
            Refusal::OwnPort => "own source port",
            Refusal::LowPort => "low source port",
            Refusal::RateLimited => "rate limited",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Refusal {}

impl DatagramRules {
    /// Decides whether a datagram is answered.
    ///
    /// # Errors
    ///
    /// [`Refusal`] says why it is not.
    pub fn check(&self, datagram: &Datagram) -> Result<(), Refusal> {
        let (source, port) = (datagram.source.ip().to_canonical(), datagram.source.port());
        if datagram.sent_to_many || datagram.destination.is_some_and(|address| is_many(address.to_canonical())) {
            Err(Refusal::SentToMany)
        } else if is_many(source) || is_nobody(source) {
            Err(Refusal::Source)
        } else if port == 0 {
            Err(Refusal::PortZero)
        } else if self.own_ports.contains(&port) {
            Err(Refusal::OwnPort)
        } else if !self.answer_low_ports && (port < FIRST_HIGH_PORT || port == NFS_PORT) {
            Err(Refusal::LowPort)
        } else {
            Ok(())
        }
    }
}

/// Whether an address stands for several hosts.
fn is_many(address: IpAddr) -> bool {
    address.is_multicast() || address == Ipv4Addr::BROADCAST
}

/// Whether an address stands for a host that has none yet.
fn is_nobody(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets().starts_with(&[0]),
        IpAddr::V6(address) => address.is_unspecified(),
    }
}
