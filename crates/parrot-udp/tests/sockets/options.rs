//! What becomes of a socket that is handed over.

use std::net::UdpSocket;
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt::ReceiveTimestamp};
use parrot_udp::{Batch, DatagramSocket};
use rustix::io::{FdFlags, fcntl_getfd};

use crate::support::*;

#[test]
fn the_descriptor_stays_closed_on_exec() {
    assert!(fcntl_getfd(bound(HERE).as_fd()).unwrap().contains(FdFlags::CLOEXEC));
}

#[test]
fn one_socket_may_move_to_another_thread() {
    let mut socket = bound(ANY);
    let client = client(HERE);
    for _ in 0..2 {
        client.send_to(b"squawk", at(HERE, &socket)).unwrap();
        socket = std::thread::spawn(move || {
            echo(&mut socket, &mut Batch::new(), 1);
            socket
        })
        .join()
        .unwrap();
        assert_eq!(reply(&client).0, b"squawk");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn no_datagram_is_marked_do_not_fragment() {
    use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, ip_mtu_discover, ipv6_mtu_discover};

    assert_eq!(ip_mtu_discover(bound(HERE).as_fd()).unwrap(), Ipv4PathMtuDiscovery::DONT);
    if exists(HERE_IPV6) {
        let socket = bound(HERE_IPV6);
        assert_eq!(ip_mtu_discover(socket.as_fd()).unwrap(), Ipv4PathMtuDiscovery::DONT);
        assert_eq!(ipv6_mtu_discover(socket.as_fd()).unwrap(), Ipv6PathMtuDiscovery::DONT);
    }
}

#[test]
fn timestamps_that_somebody_asked_for_are_switched_off() {
    let plain = bound(ANY);
    let server = UdpSocket::bind((ANY, 0)).unwrap();
    setsockopt(&server, ReceiveTimestamp, &true).unwrap();
    let mut sockets = [plain, DatagramSocket::new(server).unwrap()];
    let client = client(HERE);
    for socket in [0, 1, 0, 1] {
        client.send_to(b"squawk", at(HERE, &sockets[socket])).unwrap();
        echo(&mut sockets[socket], &mut Batch::new(), 1);
        assert_eq!(reply(&client).0, b"squawk");
    }
}
