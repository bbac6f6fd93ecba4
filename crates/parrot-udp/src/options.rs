//! What a socket is asked for once, when it is taken over.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};

/// Sets what `DatagramSocket::new` promises.
pub(crate) fn set(socket: &UdpSocket, local: SocketAddr, ask_for_destination: bool) -> io::Result<()> {
    if ask_for_destination {
        match local {
            SocketAddr::V4(_) => ask_for_ipv4_destination(socket)?,
            SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        }
    }
    add_no_other_message(socket)?;
    #[cfg(target_os = "linux")]
    keep_no_errors(socket, local)?;
    allow_any_length(socket, local)
}

/// Whoever made the socket may have asked for timestamps (Timestamping= in systemd.socket(5)) or for the count of
/// drops. Headers that are used again would be too small for them, see calls/batched.rs.
fn add_no_other_message(socket: &UdpSocket) -> io::Result<()> {
    setsockopt(socket, sockopt::ReceiveTimestamp, &false)?;
    #[cfg(target_os = "linux")]
    {
        setsockopt(socket, sockopt::ReceiveTimestampns, &false)?;
        setsockopt(socket, sockopt::RxqOvfl, &0)?;
    }
    Ok(())
}

/// Whoever made the socket may have asked for a queue of errors or of sent timestamps. Nobody would read it here, and while
/// something is in it every wait reports the socket at once (`datagram_poll` in net/core/datagram.c).
#[cfg(target_os = "linux")]
fn keep_no_errors(socket: &UdpSocket, local: SocketAddr) -> io::Result<()> {
    setsockopt(socket, sockopt::Ipv4RecvErr, &false)?;
    if local.is_ipv6() {
        setsockopt(socket, sockopt::Ipv6RecvErr, &false)?;
    }
    Ok(setsockopt(socket, sockopt::Timestamping, &nix::sys::socket::TimestampingFlag::empty())?)
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn ask_for_ipv4_destination(socket: &UdpSocket) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn ask_for_ipv4_destination(socket: &UdpSocket) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::Ipv4RecvDstAddr, &true)?)
}

/// Without this, Linux marks a datagram that fits the path's MTU with do-not-fragment, and a router with a smaller MTU
/// drops it (IP_MTU_DISCOVER in ip(7), `ip_dont_fragment` in include/net/ip.h). The sender of an IPv6 datagram is the
/// only one that can fragment it, and the default is to do so. The option is set there too, because whoever made the
/// socket may have changed it.
#[cfg(target_os = "linux")]
fn allow_any_length(socket: &UdpSocket, local: SocketAddr) -> io::Result<()> {
    use rustix::net::sockopt::{
        Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
    };

    // The IPv4 option counts for datagrams to and from IPv4 on a socket of both families too.
    set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DONT)?;
    if local.is_ipv6() {
        set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DONT)?;
    }
    Ok(())
}

/// The default send buffer of these systems holds 9,216 bytes, and a longer datagram is refused with EMSGSIZE. Their
/// receive buffers hold 41,600 or so, and a longer datagram does not arrive. Neither is made smaller. A system that
/// allows no buffer of this size (`kern.ipc.maxsockbuf`) keeps what it has.
#[cfg(not(target_os = "linux"))]
fn allow_any_length(socket: &UdpSocket, _: SocketAddr) -> io::Result<()> {
    use rustix::net::sockopt::{
        set_socket_recv_buffer_size, set_socket_send_buffer_size, socket_recv_buffer_size, socket_send_buffer_size,
    };

    /// The longest datagram and its source address, with room to spare.
    const LEAST: usize = 128 * 1024;

    if socket_send_buffer_size(socket)? < LEAST {
        let _ = set_socket_send_buffer_size(socket, LEAST);
    }
    if socket_recv_buffer_size(socket)? < LEAST {
        let _ = set_socket_recv_buffer_size(socket, LEAST);
    }
    Ok(())
}

/// The system's count of datagrams that it dropped.
#[derive(Debug)]
pub(crate) struct Drops {
    last: Option<u32>,
}

impl Drops {
    pub(crate) fn new(socket: &UdpSocket) -> Self {
        Self { last: count_drops(socket) }
    }

    /// Those since the last time. The system's counter wraps around.
    pub(crate) fn take(&mut self, socket: &UdpSocket) -> Option<u32> {
        let now = count_drops(socket)?;
        let last = self.last.replace(now).unwrap_or(now);
        Some(now.wrapping_sub(last))
    }
}

/// How many datagrams a UDP socket has dropped since it was made, most of them for want of room. The count wraps around.
///
/// `None` if the system does not count them for each socket, which only Linux does (SO_MEMINFO, since 4.12).
///
/// ```
/// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
/// if cfg!(target_os = "linux") {
///     assert_eq!(parrot_udp::count_drops(&socket), Some(0));
/// }
/// # std::io::Result::Ok(())
/// ```
#[must_use]
pub fn count_drops<Socket: AsFd>(socket: &Socket) -> Option<u32> {
    count(socket)
}

/// SO_RXQ_OVFL would report the same counter as a control message, but only with the next datagram that arrives, and
/// from the first drop on. Headers for `recvmmsg` that nix reuses have no room for a message that appears later
/// (nix#2813).
#[cfg(target_os = "linux")]
fn count<Socket: AsFd>(socket: &Socket) -> Option<u32> {
    use nix::libc;
    use nix::{getsockopt_impl, sockopt_impl};

    sockopt_impl!(
        /// Numbers about a socket's memory, `SK_MEMINFO_VARS` of them in include/uapi/linux/sock_diag.h.
        MemoryInfo,
        GetOnly,
        libc::SOL_SOCKET,
        libc::SO_MEMINFO,
        [u32; 9]
    );

    /// Its place among these numbers, `SK_MEMINFO_DROPS`.
    const DROPS: usize = 8;

    nix::sys::socket::getsockopt(socket, MemoryInfo).ok()?.get(DROPS).copied()
}

#[cfg(not(target_os = "linux"))]
fn count<Socket>(_: &Socket) -> Option<u32> {
    None
}
