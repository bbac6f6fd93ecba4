//! Connections that begin with a PROXY protocol header, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use parrot_server::{CloseReason, Config, Ended, Handle, Listen, ProxyProtocol, Replies, Server, Statistics, Template};
use parrot_testkit::client;
use parrot_testkit::wait_for;

/// A header of version 1, and what a greeting of `{peer} {local}` says after it.
const TEXT: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 1512\r\n";
const GREETING: &[u8] = b"192.0.2.7:50000 198.51.100.1:1512\n";

struct Running {
    address: SocketAddr,
    handle: Handle,
    thread: JoinHandle<std::io::Result<Ended>>,
}

/// A server that greets each client with both ends of its connection.
fn start(proxy: ProxyProtocol) -> Running {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let replies = Replies { greeting: Some(Template::line("{peer} {local}", |_| None).unwrap()), prefix: None };
    let listen = vec![Listen::tcp(address).with_proxy_protocol()];
    let server = Server::bind(Config { listen, proxy, replies, ..Config::default() }).unwrap();
    let (address, handle) = (server.local_addresses()[0], server.handle());
    Running { address, handle, thread: std::thread::spawn(move || server.run()) }
}

impl Running {
    fn connect(&self) -> TcpStream {
        client::connect(self.address)
    }

    fn until(&self, what: &str, wanted: impl Fn(&Statistics) -> bool) {
        let waited = wait_for(what, || Ok(wanted(&self.handle.statistics()).then_some(())));
        assert!(waited.is_ok(), "never {what}: {}", self.handle.statistics());
    }

    fn drain(self) -> Statistics {
        self.handle.drain();
        assert_eq!(self.thread.join().unwrap().unwrap(), Ended::Drained);
        self.handle.statistics()
    }
}

fn expect(mut stream: &TcpStream, expected: &[u8]) {
    let mut received = vec![0; expected.len()];
    stream.read_exact(&mut received).unwrap();
    assert_eq!(received.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

/// Reads to the end, which a reset is too, because the server has not read all that was sent.
fn expect_end(mut stream: &TcpStream) {
    match stream.read(&mut [0]) {
        Ok(n) => assert_eq!(n, 0, "a byte came back"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn the_client_of_the_header_is_the_peer() {
    let server = start(ProxyProtocol::default());
    let mut client = server.connect();
    client.write_all(&[TEXT, b"squawk"].concat()).unwrap();
    expect(&client, &[GREETING, b"squawk"].concat());
    drop(client);
    let statistics = server.drain();
    assert_eq!((statistics.bytes_in, statistics.messages), (6, 1), "the header is no message");
}

#[test]
fn a_header_may_come_in_single_bytes() {
    let server = start(ProxyProtocol::default());
    let mut client = server.connect();
    for byte in TEXT {
        client.write_all(&[*byte]).unwrap();
    }
    expect(&client, GREETING);
    client::echo(&client, b"squawk");
    server.drain_after(client);
}

#[test]
fn what_is_no_header_closes_the_connection() {
    let server = start(ProxyProtocol::default());
    for wrong in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n", b"\r\n\r\n\0\r\nQUIT\n\x23"] {
        let mut client = server.connect();
        client.write_all(wrong).unwrap();
        expect_end(&client);
    }
    server.until("refused", |statistics| statistics.closed(CloseReason::HeaderRefused) == 3);
    assert_eq!(server.drain().bytes_out, 0);
}

#[test]
fn a_stream_that_ends_inside_its_header_is_refused() {
    let server = start(ProxyProtocol::default());
    let mut client = server.connect();
    client.write_all(&TEXT[..TEXT.len() - 1]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    expect_end(&client);
    server.until("refused", |statistics| statistics.closed(CloseReason::HeaderRefused) == 1);
    server.drain();
}

#[test]
fn a_connection_without_a_byte_is_no_refusal() {
    let server = start(ProxyProtocol::default());
    drop(server.connect());
    server.until("closed", |statistics| statistics.closed(CloseReason::PeerFinished) == 1);
    server.drain();
}

#[test]
fn a_header_that_does_not_come_times_out() {
    let server = start(ProxyProtocol { timeout: Duration::from_millis(50), ..ProxyProtocol::default() });
    let (silent, mut slow) = (server.connect(), server.connect());
    slow.write_all(&TEXT[..10]).unwrap();
    expect_end(&silent);
    expect_end(&slow);
    server.until("timed out", |statistics| statistics.closed(CloseReason::HeaderTimeout) == 2);
    server.drain();
}

#[test]
fn a_connection_with_a_header_outlives_its_timeout() {
    let server = start(ProxyProtocol { timeout: Duration::from_millis(50), ..ProxyProtocol::default() });
    let mut client = server.connect();
    client.write_all(TEXT).unwrap();
    expect(&client, GREETING);
    let late = server.connect();
    expect_end(&late);
    client::echo(&client, b"squawk");
    server.drain_after(client);
}

#[test]
fn local_headers_keep_the_address_of_the_connection() {
    let server = start(ProxyProtocol::default());
    let mut client = server.connect();
    let own = format!("{} {}\n", client.local_addr().unwrap(), server.address);
    client.write_all(b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x03abcsquawk").unwrap();
    expect(&client, &[own.as_bytes(), b"squawk"].concat());
    server.drain_after(client);
}

#[test]
fn only_the_networks_that_are_named_may_connect() {
    let elsewhere = ProxyProtocol { from: vec!["192.0.2.0/24".parse().unwrap()], ..ProxyProtocol::default() };
    let server = start(elsewhere);
    expect_end(&server.connect());
    server.until("refused", |statistics| statistics.untrusted == 1);
    server.drain();
    let here = ProxyProtocol { from: vec!["127.0.0.0/8".parse().unwrap()], ..ProxyProtocol::default() };
    let server = start(here);
    let mut client = server.connect();
    client.write_all(TEXT).unwrap();
    expect(&client, GREETING);
    server.drain_after(client);
}

#[test]
fn a_drain_does_not_wait_for_a_header_for_ever() {
    let server = start(ProxyProtocol { timeout: Duration::from_secs(3600), ..ProxyProtocol::default() });
    let client = server.connect();
    server.until("accepted", |statistics| statistics.accepted == 1);
    server.handle.drain();
    expect_end(&client);
    server.drain_after(client);
}

impl Running {
    fn drain_after(self, client: TcpStream) -> Statistics {
        drop(client);
        self.drain()
    }
}
