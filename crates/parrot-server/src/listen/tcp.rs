//! TCP listeners: a socket for each address, with separate ones for IPv4 and IPv6.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketType, sockopt};

use super::address::local_ip;
use super::listener::{Listener, effective_backlog};
use super::{Addresses, BindError, ListenOptions, LocalAddress, sockets};

/// Listens on every address.
pub(super) fn listen(
    addresses: &Addresses,
    options: &ListenOptions,
) -> Result<Vec<(Listener, LocalAddress)>, BindError> {
    let opened = addresses.open(|address| {
        let socket = listen_on(address, options)?;
        let address = local_ip(&socket)?;
        Ok((Listener::tcp(socket), address))
    });
    let opened = opened.map_err(|(address, error)| BindError::listen(LocalAddress::Tcp(address), error))?;
    Ok(opened.into_iter().map(|(listener, address)| (listener, LocalAddress::Tcp(address))).collect())
}

fn listen_on(address: SocketAddr, options: &ListenOptions) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = sockets::new(family, SocketType::STREAM)?;
    // Connections of an earlier server that are in TIME_WAIT must not keep the port.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if options.reuse_port {
        sockets::set_reuse_port(&socket)?;
    }
    options.socket.set_on_listener(&socket)?;
    if address.is_ipv6() {
        // The default differs between systems, and OpenBSD allows no other value: ip6(4).
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, effective_backlog(options.backlog))?;
    Ok(socket)
}
