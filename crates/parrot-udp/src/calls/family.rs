//! What differs between IPv4 and IPv6, and between systems: the control messages that carry a datagram's destination
//! and set a reply's source.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::libc;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, RecvMsg, SockaddrIn, SockaddrIn6, SockaddrLike};

use super::imp::Kept;
use crate::Destination;

/// Whether the source of an IPv4 datagram can be set here.
///
/// For macOS see `udp_check_pktinfo` in XNU's bsd/netinet/udp_usrreq.c. FreeBSD and OpenBSD take IP_SENDSRCADDR in
/// `udp_output` in sys/netinet/udp_usrreq.c, and NetBSD in `ip_setpktopts` in sys/netinet/ip_output.c. DragonFly's
/// header has it, but in the sources of its kernel that could be read `udp_send` takes no control message.
pub(crate) const SETS_IPV4_SOURCE: bool = cfg!(not(target_os = "dragonfly"));

/// Whether nix can set the source of an IPv6 datagram here.
pub(crate) const SETS_IPV6_SOURCE: bool = cfg!(not(any(target_os = "openbsd", target_os = "dragonfly")));

/// IPv4 or IPv6, by the address that the system uses for it.
pub(crate) trait Family: Kept + SockaddrLike + Copy + 'static {
    /// The content of the control message that sets the source.
    type SourceInfo;

    /// `None` if the address is of the other family.
    fn from_address(address: SocketAddr) -> Option<Self>;

    fn to_address(self) -> SocketAddr;

    /// The destination that a received message reports.
    fn destination(message: &RecvMsg<'_, '_, Self>) -> Option<Destination>;

    /// `None` if the address is of the other family, or if the source cannot be set here.
    fn source_info(local: IpAddr, interface: u32) -> Option<Self::SourceInfo>;

    fn source_message(info: &Self::SourceInfo) -> ControlMessage<'_>;
}

impl Family for SockaddrIn {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    type SourceInfo = libc::in_pktinfo;
    #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
    type SourceInfo = libc::in_addr;

    fn from_address(address: SocketAddr) -> Option<Self> {
        match address {
            SocketAddr::V4(address) => Some(address.into()),
            SocketAddr::V6(_) => None,
        }
    }

    fn to_address(self) -> SocketAddr {
        SocketAddr::V4(self.into())
    }

    fn destination(message: &RecvMsg<'_, '_, Self>) -> Option<Destination> {
        message.cmsgs().ok()?.find_map(|control| match control {
            // `ipi_addr` is the destination in the header. `ipi_spec_dst` is the address of this system that belongs to
            // it (`fib_compute_spec_dst` in net/ipv4/fib_frontend.c), and differs for a broadcast only.
            #[cfg(target_os = "linux")]
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(Destination::with_local(
                ipv4(info.ipi_addr),
                ipv4(info.ipi_spec_dst),
                info.ipi_ifindex.unsigned_abs(),
            )),
            // macOS leaves `ipi_spec_dst` empty.
            #[cfg(target_vendor = "apple")]
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(Destination::new(ipv4(info.ipi_addr), info.ipi_ifindex)),
            #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
            ControlMessageOwned::Ipv4RecvDstAddr(address) => Some(Destination::new(ipv4(address), 0)),
            _ => None,
        })
    }

    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    fn source_info(local: IpAddr, interface: u32) -> Option<Self::SourceInfo> {
        let IpAddr::V4(local) = local else { return None };
        // The source is taken from `ipi_spec_dst`. `ipi_addr` is not looked at (`ip_cmsg_send` in
        // net/ipv4/ip_sockglue.c).
        Some(libc::in_pktinfo {
            #[cfg(target_os = "linux")]
            ipi_ifindex: interface.cast_signed(),
            #[cfg(target_vendor = "apple")]
            ipi_ifindex: interface,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from(local).to_be() },
            ipi_addr: libc::in_addr { s_addr: 0 },
        })
    }

    #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
    fn source_info(local: IpAddr, _interface: u32) -> Option<Self::SourceInfo> {
        let IpAddr::V4(local) = local else { return None };
        Some(libc::in_addr { s_addr: u32::from(local).to_be() })
    }

    fn source_message(info: &Self::SourceInfo) -> ControlMessage<'_> {
        #[cfg(any(target_os = "linux", target_vendor = "apple"))]
        return ControlMessage::Ipv4PacketInfo(info);
        #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
        return ControlMessage::Ipv4SendSrcAddr(info);
    }
}

impl Family for SockaddrIn6 {
    #[cfg(not(any(target_os = "openbsd", target_os = "dragonfly")))]
    type SourceInfo = libc::in6_pktinfo;
    #[cfg(any(target_os = "openbsd", target_os = "dragonfly"))]
    type SourceInfo = std::convert::Infallible;

    fn from_address(address: SocketAddr) -> Option<Self> {
        match address {
            SocketAddr::V4(_) => None,
            SocketAddr::V6(address) => Some(address.into()),
        }
    }

    fn to_address(self) -> SocketAddr {
        SocketAddr::V6(self.into())
    }

    fn destination(message: &RecvMsg<'_, '_, Self>) -> Option<Destination> {
        message.cmsgs().ok()?.find_map(|control| match control {
            #[cfg(any(target_os = "linux", target_os = "freebsd", target_vendor = "apple"))]
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                Some(Destination::new(Ipv6Addr::from(info.ipi6_addr.s6_addr).into(), info.ipi6_ifindex))
            }
            // nix does not read this message here, but hands over its bytes.
            #[cfg(any(target_os = "netbsd", target_os = "openbsd", target_os = "dragonfly"))]
            ControlMessageOwned::Unknown(unknown)
                if unknown.cmsg_header.cmsg_level == libc::IPPROTO_IPV6
                    && unknown.cmsg_header.cmsg_type == libc::IPV6_PKTINFO =>
            {
                let (address, rest) = unknown.data_bytes.split_first_chunk::<16>()?;
                let interface = u32::from_ne_bytes(*rest.first_chunk()?);
                Some(Destination::new(Ipv6Addr::from(*address).into(), interface))
            }
            _ => None,
        })
    }

    #[cfg(not(any(target_os = "openbsd", target_os = "dragonfly")))]
    fn source_info(local: IpAddr, interface: u32) -> Option<Self::SourceInfo> {
        let IpAddr::V6(local) = local else { return None };
        Some(libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: local.octets() }, ipi6_ifindex: interface })
    }

    #[cfg(any(target_os = "openbsd", target_os = "dragonfly"))]
    fn source_info(_local: IpAddr, _interface: u32) -> Option<Self::SourceInfo> {
        None
    }

    fn source_message(info: &Self::SourceInfo) -> ControlMessage<'_> {
        #[cfg(not(any(target_os = "openbsd", target_os = "dragonfly")))]
        return ControlMessage::Ipv6PacketInfo(info);
        #[cfg(any(target_os = "openbsd", target_os = "dragonfly"))]
        match *info {}
    }
}

fn ipv4(address: libc::in_addr) -> IpAddr {
    Ipv4Addr::from(u32::from_be(address.s_addr)).into()
}
