//! IPv6 beside IPv4.

use std::net::{IpAddr, SocketAddr, TcpStream};

use parrot_testkit::client::echo;
use parrot_testkit::wait_until;

use crate::support::{LOOPBACK, bare_parrot, has_ipv6, scratch, skip, spawn};

#[test]
fn both_families_share_one_free_port() {
    if !has_ipv6() {
        return skip("no IPv6 on this machine");
    }
    let parrot = spawn(&mut bare_parrot(&["--port", "0", "--log", "off"]));
    let [v4, v6] = parrot.addresses() else {
        panic!("two addresses expected: {}", parrot.stderr());
    };
    assert!(v4.is_ipv4() && v6.is_ipv6() && v4.ip().is_unspecified() && v6.ip().is_unspecified());
    assert_eq!(v4.port(), v6.port());
    for ip in [IpAddr::V4(LOOPBACK), "::1".parse().unwrap()] {
        echo(&TcpStream::connect(SocketAddr::new(ip, v4.port())).unwrap(), b"squawk");
    }
}

#[test]
fn an_ipv6_peer_is_logged_in_brackets() {
    if !has_ipv6() {
        return skip("no IPv6 on this machine");
    }
    let log = scratch("ipv6.log");
    let parrot = spawn(bare_parrot(&["--port", "0", "--bind", "::1", "--log-file"]).arg(&log));
    let stream = parrot.connect();
    echo(&stream, b"squawk\n");
    let peer = format!("{} - - [", stream.local_addr().unwrap());
    assert!(peer.starts_with("[::1]:"));
    wait_until("the line is written", || std::fs::read_to_string(&log).unwrap().starts_with(&peer));
}
