//! Whether a server could be bound, found out without disturbing one that is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;

use parrot_server::{Addresses, Config, Listen, LocalAddress, Replies, Server, Template};
use tempfile::tempdir;

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn config(listen: Vec<Listen>) -> Config {
    Config { listen, ..Config::default() }
}

#[test]
fn a_check_leaves_everything_free() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("parrot.sock");
    let free = TcpListener::bind(loopback()).unwrap().local_addr().unwrap();
    let places =
        || vec![Listen::tcp(free), Listen::udp(free), Listen::unix(&path), Listen::tcp(Addresses::localhost(0))];
    for _ in 0..2 {
        assert_eq!(Server::check(&config(places())).unwrap(), []);
    }
    assert!(!path.exists());
    assert_eq!(Server::bind(config(places())).unwrap().listening()[0].address, LocalAddress::Tcp(free));
}

#[test]
fn addresses_in_use_are_no_error() {
    let (tcp, udp) = (TcpListener::bind(loopback()).unwrap(), UdpSocket::bind(loopback()).unwrap());
    let (tcp_address, udp_address) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
    let listen = vec![Listen::tcp(tcp_address), Listen::udp(udp_address), Listen::tcp(loopback())];
    let in_use = Server::check(&config(listen)).unwrap();
    assert_eq!(in_use, [LocalAddress::Tcp(tcp_address), LocalAddress::Udp(udp_address)]);
}

#[test]
fn a_server_sees_nothing_of_a_check() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("parrot.sock");
    let (tcp, unix) = (TcpListener::bind(loopback()).unwrap(), UnixListener::bind(&path).unwrap());
    Server::check(&config(vec![Listen::tcp(tcp.local_addr().unwrap()), Listen::unix(&path)])).unwrap();
    tcp.set_nonblocking(true).unwrap();
    unix.set_nonblocking(true).unwrap();
    assert_eq!(tcp.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(unix.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[cfg(target_os = "linux")]
#[test]
fn a_check_takes_no_datagram_from_a_shared_port() {
    let listen = |reuse_port| Config { reuse_port, ..config(vec![Listen::udp(loopback())]) };
    let server = Server::bind(listen(true)).unwrap();
    let LocalAddress::Udp(address) = server.listening()[0].address else { panic!("a UDP socket") };
    let again = Config { reuse_port: true, ..config(vec![Listen::udp(address)]) };
    assert_eq!(Server::check(&again).unwrap(), [LocalAddress::Udp(address)]);
}

#[test]
fn what_a_bind_would_refuse_is_an_error() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    // RFC 5737 reserves this address for documentation.
    let foreign: SocketAddr = "192.0.2.1:7".parse().unwrap();
    for (listen, kind) in [
        (Listen::tcp(foreign), ErrorKind::AddrNotAvailable),
        (Listen::udp(foreign), ErrorKind::AddrNotAvailable),
        (Listen::unix(&file), ErrorKind::AlreadyExists),
        (Listen::unix(file.join("socket")), ErrorKind::NotADirectory),
        (Listen::unix(directory.path().join("nowhere/socket")), ErrorKind::NotFound),
        (Listen::unix("x".repeat(200)), ErrorKind::InvalidInput),
    ] {
        let shown = format!("{listen:?}");
        let checked = Server::check(&config(vec![listen])).unwrap_err();
        assert!(checked.address().is_some(), "{shown}");
        if kind != ErrorKind::InvalidInput {
            assert_eq!(checked.kind(), kind, "{shown}");
        }
    }
    let prefix = Some(Template::raw(&"x".repeat(70_000), |_| None).unwrap());
    let long = || Config { replies: Replies { greeting: None, prefix: prefix.clone() }, ..Config::default() };
    assert!(Server::check(&long()).is_ok());
    assert!(Server::check(&Config { listen: vec![Listen::udp(loopback())], ..long() }).is_err());
}
