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

#[test]
fn a_datagram_whose_destination_got_lost_is_refused() {
    if cfg!(not(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd"))) {
        return eprintln!("SKIPPED: on this system there is always room for the destination");
    }
    let mut socket = bound(ANY);
    let client = client(HERE);
    let mut batch = Batch::new();
    let mut next = || {
        client.send_to(b"squawk", at(HERE, &socket)).unwrap();
        receive(&mut socket, &mut batch);
        let refused = batch.iter().next().unwrap().is_refused();
        assert_eq!(socket.reply(&batch).sent, usize::from(!refused));
        // The headers of the first batch are too small for what comes after it.
        setsockopt(&socket, ReceiveTimestamp, &true).unwrap();
        refused
    };
    assert_eq!([next(), next(), next()], [false, true, false]);
}
