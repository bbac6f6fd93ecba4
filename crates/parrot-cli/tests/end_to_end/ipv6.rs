//! IPv6 beside IPv4.

use std::net::{IpAddr, SocketAddr, SocketAddrV6, TcpStream};

use parrot_testkit::client::echo;
use parrot_testkit::network::{PAIR, alone, number_of};
use parrot_testkit::program::run;
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

/// A server at these addresses and a free port, without a log.
fn bound(addresses: &[&str]) -> std::process::Command {
    let mut command = bare_parrot(&["--port", "0", "--log", "off"]);
    command.args(addresses.iter().flat_map(|address| ["--bind", address]));
    command
}

#[test]
fn a_link_local_address_is_listened_on_at_its_interface() {
    alone(&PAIR, || {
        let at = |interface, port| SocketAddrV6::new("fe80::7".parse().unwrap(), port, 0, number_of(interface));
        let number = number_of("here");
        for address in ["fe80::7%here", "[fe80::7%here]", &format!("fe80::7%{number}"), "fe80::7%25here"] {
            let parrot = spawn(&mut bound(&[address]));
            let port = parrot.address().port();
            assert_eq!(parrot.addresses(), [SocketAddr::from(at("here", port))], "{address}");
            echo(&TcpStream::connect(at("here", port)).unwrap(), b"squawk");
            assert!(TcpStream::connect(at("there", port)).is_err(), "{address}: the same address of another interface");
            parrot.stop().unwrap();
        }
        // Each interface is listened on, and what names the same one counts once.
        let parrot =
            spawn(&mut bound(&["fe80::7%here", "fe80::7%there", &format!("fe80::7%{number}"), "::1", "::1%lo"]));
        assert_eq!(parrot.addresses().len(), 3, "{}", parrot.stderr());
        for address in parrot.addresses() {
            echo(&TcpStream::connect(address).unwrap(), b"squawk");
        }
    });
}

#[test]
fn an_interface_without_the_address_is_a_failure_with_advice() {
    alone(&PAIR, || {
        for (address, advice) in [
            ("fe80::7%nowhere", "this machine has no interface nowhere for fe80::7%nowhere"),
            ("fe80::7%4294967295", "this machine has no interface 4294967295"),
            ("::1%nowhere", "this machine has no interface nowhere"),
            ("fe80::9%here", "fe80::9 is not an address of this interface"),
        ] {
            let ended = run(&mut bound(&[address]));
            // The interface may come later, so a service manager may start the server again.
            assert_eq!(ended.code, Some(1), "{address}: {ended:?}");
            assert!(ended.stderr.contains(advice), "{address}: {ended:?}");
        }
    });
}
