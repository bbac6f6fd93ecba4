//! UDP sockets: one for each address, with separate ones for IPv4 and IPv6.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use parrot_udp::{DatagramSocket, replies_from_destination};
use rustix::net::{AddressFamily, SocketType, sockopt};

use super::{Addresses, BindError, ListenOptions, LocalAddress, sockets};

/// Room for some thousand small datagrams, so that a burst finds it while the loop does something else.
const RECEIVE_BUFFER: usize = 1024 * 1024;

/// Opens a socket for every address.
pub(super) fn open(
    addresses: &Addresses,
    options: &ListenOptions,
) -> Result<Vec<(DatagramSocket, LocalAddress)>, BindError> {
    let opened = addresses.open(|address| {
        let socket = open_at(address, options)?;
        let address = socket.local_address();
        Ok((socket, address))
    });
    let opened = opened.map_err(|(address, error)| BindError::listen(LocalAddress::Udp(address), error))?;
    Ok(opened.into_iter().map(|(socket, address)| (socket, LocalAddress::Udp(address))).collect())
}

/// Takes a socket that the caller has bound.
pub(super) fn take(given: UdpSocket) -> Result<(DatagramSocket, LocalAddress), BindError> {
    let take = || {
        sockets::set_flags(&given)?;
        check(given.local_addr()?)?;
        DatagramSocket::new(given)
    };
    let socket = take().map_err(|error| BindError::given("UDP socket", error))?;
    let address = LocalAddress::Udp(socket.local_address());
    Ok((socket, address))
}

fn open_at(address: SocketAddr, options: &ListenOptions) -> io::Result<DatagramSocket> {
    check(address)?;
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = sockets::new(family, SocketType::DGRAM)?;
    // No SO_REUSEADDR. With it a second server could take the port on Linux and receive all datagrams (socket(7)).
    if options.reuse_port {
        sockets::set_reuse_port(&socket)?;
    }
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    // Best effort. The system cuts it to its limit or refuses (net.core.rmem_max, kern.ipc.maxsockbuf), and without it a
    // burst of a few hundred small datagrams is dropped.
    if sockopt::socket_recv_buffer_size(&socket)? < RECEIVE_BUFFER {
        let _ = sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER);
    }
    rustix::net::bind(&socket, &address)?;
    DatagramSocket::new(UdpSocket::from(socket))
}

/// Refuses an address from which replies could leave with another one, or which stands for many.
pub(super) fn check(address: SocketAddr) -> io::Result<()> {
    if !replies_from_destination(address.ip()) {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "on this system replies could leave from another address than was asked, so name each address",
        ));
    }
    if is_for_many(address) {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "datagrams to a broadcast or multicast address are not answered, so name an address of this machine",
        ));
    }
    Ok(())
}

/// Whether this is a multicast or broadcast address. Every system refuses to connect to a broadcast address without
/// SO_BROADCAST, and the connect sends nothing: ip(7), ip(4).
fn is_for_many(address: SocketAddr) -> bool {
    let refused = || {
        let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        let error = probe.connect((address.ip(), 9)).err()?;
        Some(error.kind() == io::ErrorKind::PermissionDenied)
    };
    address.ip().is_multicast() || (address.is_ipv4() && !address.ip().is_unspecified() && refused() == Some(true))
}
