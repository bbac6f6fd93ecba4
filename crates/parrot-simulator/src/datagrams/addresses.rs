//! The addresses of datagrams, what may be wrong with them, and which of them are answered.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use parrot_server::Refusal;
use parrot_udp::Destination;

use crate::dice::Dice;
use crate::profile::Profile;

/// The addresses that a socket is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// One address of IPv4. The system is not asked where a datagram was sent to.
    OneAddress,
    /// All addresses of IPv4.
    Four,
    /// All addresses of IPv6.
    Six,
    /// All addresses of both, so that those of IPv4 are mapped.
    Both,
}

/// Which source address a datagram has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Host,
    Multicast,
    Broadcast,
    Nobody,
}

/// Which source port it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    Client,
    Zero,
    /// One of the server's own UDP ports.
    Own,
    Low,
    /// The port of NFS.
    Nfs,
}

/// Where it was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    Host,
    Multicast,
    Broadcast,
    /// The broadcast address of the server's network.
    Network,
    /// The system does not say.
    Unknown,
}

/// What is to become of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Answer,
    Refuse(Refusal),
    /// There is no address that the reply could come from.
    Drop,
}

/// What a datagram claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) from: From,
    pub(crate) port: Port,
    pub(crate) to: To,
}

impl Claim {
    /// The claim of an ordinary datagram.
    pub(crate) const HONEST: Claim = Claim { from: From::Host, port: Port::Client, to: To::Host };

    /// A claim that may have something wrong with each of its parts.
    pub(crate) fn forged(family: Family, profile: Profile, dice: &mut Dice) -> Claim {
        let from = dice.pick([From::Host, From::Host, From::Host, From::Multicast, From::Broadcast, From::Nobody]);
        let ports = [Port::Client, Port::Client, Port::Client, Port::Zero, Port::Own, Port::Low, Port::Nfs];
        // Linux does not report the broadcast address of a network to a socket of both families.
        let network = if family == Family::Both && profile == Profile::Epoll { To::Broadcast } else { To::Network };
        let to = match family {
            Family::OneAddress => To::Host,
            Family::Six => dice.pick([To::Host, To::Host, To::Host, To::Host, To::Multicast, To::Unknown]),
            Family::Four | Family::Both => {
                dice.pick([To::Host, To::Host, To::Host, To::Multicast, To::Broadcast, network, To::Unknown])
            }
        };
        Claim { from, port: dice.pick(ports), to }
    }

    /// What is to become of the datagram, apart from the bound on answers.
    pub(crate) fn verdict(self, answer_low_ports: bool) -> Verdict {
        match self {
            Claim { to: To::Unknown, .. } => Verdict::Drop,
            Claim { to: To::Multicast | To::Broadcast | To::Network, .. } => Verdict::Refuse(Refusal::SentToMany),
            Claim { from: From::Multicast | From::Broadcast | From::Nobody, .. } => Verdict::Refuse(Refusal::Source),
            Claim { port: Port::Zero, .. } => Verdict::Refuse(Refusal::PortZero),
            Claim { port: Port::Own, .. } => Verdict::Refuse(Refusal::OwnPort),
            Claim { port: Port::Low | Port::Nfs, .. } if !answer_low_ports => Verdict::Refuse(Refusal::LowPort),
            _ => Verdict::Answer,
        }
    }

    /// The source address, of a host in one of four networks.
    pub(crate) fn source(self, family: Family, network: u64, own_port: u16, dice: &mut Dice) -> SocketAddr {
        let is_six = match family {
            Family::OneAddress | Family::Four => false,
            Family::Six => true,
            Family::Both => dice.chance(128),
        };
        let host = 1 + dice.below(250) as u8;
        let network = network as u8 % 4;
        let address: IpAddr = match (self.from, is_six) {
            (From::Host, false) => {
                let [a, b, c] = [[192, 0, 2], [198, 51, 100], [203, 0, 113], [127, 0, 0]][usize::from(network)];
                Ipv4Addr::new(a, b, c, host).into()
            }
            (From::Multicast, false) => Ipv4Addr::new(224 + host % 16, 0, 0, host).into(),
            (From::Broadcast, false) => Ipv4Addr::BROADCAST.into(),
            (From::Nobody, false) => Ipv4Addr::new(0, 0, 0, host % 2).into(),
            // A /56 ends in the middle of the fourth of these numbers.
            (From::Host, true) => {
                let network = u16::from(network) << 8 | u16::from(host);
                Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0, 0, 0, u16::from(host)).into()
            }
            (From::Multicast, true) => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, u16::from(host)).into(),
            (From::Broadcast, true) => Ipv4Addr::BROADCAST.to_ipv6_mapped().into(),
            (From::Nobody, true) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let port = match self.port {
            Port::Client => 30_000 + dice.below(30_000) as u16,
            Port::Zero => 0,
            Port::Own => own_port,
            Port::Low => 1 + dice.below(1023) as u16,
            Port::Nfs => 2049,
        };
        SocketAddr::new(mapped(address, family), port)
    }

    /// Where the datagram was sent to, as the system reports it. The server has four addresses.
    pub(crate) fn destination(self, family: Family, source: IpAddr, dice: &mut Dice) -> Option<Destination> {
        let which = 1 + dice.below(4) as u8;
        let one = Ipv4Addr::new(10, 1, 1, if family == Family::OneAddress { 1 } else { which });
        let is_six = source.is_ipv6() && source.to_canonical().is_ipv6();
        let address: IpAddr = match (self.to, is_six) {
            (To::Unknown, _) => return None,
            (To::Network, _) => {
                let broadcast = mapped(Ipv4Addr::new(10, 1, 1, 255).into(), family);
                return Some(Destination::with_local(broadcast, mapped(one.into(), family), 2));
            }
            (To::Host, false) => one.into(),
            (To::Host, true) => Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, u16::from(which)).into(),
            (To::Multicast, false) => Ipv4Addr::new(224, 0, 0, which).into(),
            (To::Multicast, true) => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, u16::from(which)).into(),
            (To::Broadcast, _) => Ipv4Addr::BROADCAST.into(),
        };
        Some(Destination::new(mapped(address, family), 2))
    }
}

/// The address as a socket of this family sees it.
fn mapped(address: IpAddr, family: Family) -> IpAddr {
    match address {
        IpAddr::V4(address) if matches!(family, Family::Six | Family::Both) => address.to_ipv6_mapped().into(),
        address => address,
    }
}
