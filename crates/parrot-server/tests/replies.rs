//! Greetings and prefixes, over real sockets of every kind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use parrot_server::{
    Addresses, Config, Ended, Handle, Limits, Listen, Listening, Lookup, Replies, Server, Statistics, Template,
};
use parrot_testkit::PATIENCE;

struct Running {
    listening: Vec<Listening>,
    handle: Handle,
    thread: JoinHandle<std::io::Result<Ended>>,
}

fn start(listen: Listen, replies: Replies, limits: Limits) -> Running {
    let server = Server::bind(Config { listen: vec![listen], replies, limits, ..Config::default() }).unwrap();
    let (listening, handle) = (server.listening().to_vec(), server.handle());
    Running { listening, handle, thread: std::thread::spawn(move || server.run()) }
}

impl Running {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.listening[0].address.socket_address().unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn drain(self) -> Statistics {
        self.handle.drain();
        assert_eq!(self.thread.join().unwrap().unwrap(), Ended::Drained);
        self.handle.statistics()
    }
}

fn greeting(text: &str) -> Replies {
    Replies { greeting: Some(Template::line(text, nothing).unwrap()), prefix: None }
}

fn prefix(text: &str) -> Replies {
    Replies { greeting: None, prefix: Some(Template::raw(text, nothing).unwrap()) }
}

fn nothing(_: Lookup<'_>) -> Option<String> {
    None
}

fn expect(stream: &mut impl Read, expected: &str) {
    let mut received = vec![0; expected.len()];
    stream.read_exact(&mut received).unwrap();
    assert_eq!(String::from_utf8_lossy(&received), expected);
}

#[test]
fn a_greeting_comes_before_anything_is_sent() {
    let server =
        start(Listen::tcp(Addresses::localhost(0)).named("web"), greeting("{listener} {peer}"), Limits::default());
    let mut client = server.connect();
    let own = client.local_addr().unwrap();
    expect(&mut client, &format!("web {own}\n"));
    client.write_all(b"squawk").unwrap();
    expect(&mut client, "squawk");
    drop(client);
    server.drain();
}

#[test]
fn a_peer_that_ends_at_once_is_greeted_too() {
    let server = start(Listen::tcp(Addresses::localhost(0)), greeting("number {connection}"), Limits::default());
    for number in 1..=20 {
        let mut client = server.connect();
        client.shutdown(Shutdown::Write).unwrap();
        let mut received = String::new();
        client.read_to_string(&mut received).unwrap();
        assert_eq!(received, format!("number {number}\n"));
    }
    server.drain();
}

#[test]
fn a_greeting_may_be_longer_than_a_buffer() {
    let text = "polly ".repeat(100);
    let limits = Limits { max_output: 16, ..Limits::default() };
    let server = start(Listen::tcp(Addresses::localhost(0)), greeting(&text), limits);
    let mut client = server.connect();
    expect(&mut client, &format!("{text}\n"));
    client.write_all(b"squawk").unwrap();
    expect(&mut client, "squawk");
    drop(client);
    server.drain();
}

#[test]
fn each_message_has_its_prefix() {
    let server = start(Listen::tcp(Addresses::localhost(0)), prefix("{connection}> "), Limits::default());
    let mut client = server.connect();
    for _ in 0..3 {
        client.write_all(b"squawk\n").unwrap();
        expect(&mut client, "1> squawk\n");
    }
    drop(client);
    let statistics = server.drain();
    assert_eq!((statistics.messages, statistics.bytes_in, statistics.bytes_out), (3, 21, 30));
}

#[test]
fn a_prefix_that_fills_the_buffer_is_an_error() {
    let limits = Limits { max_output: 16, ..Limits::default() };
    let replies = prefix("sixteen letters!");
    let config = Config { listen: vec![Listen::tcp(Addresses::localhost(0))], replies, limits, ..Config::default() };
    assert!(Server::bind(config).unwrap_err().to_string().contains("no room for a message"));
}

#[test]
fn with_a_prefix_not_a_byte_is_lost() {
    let limits = Limits { max_output: 64, ..Limits::default() };
    let server = start(Listen::tcp(Addresses::localhost(0)), prefix("#"), limits);
    let mut client = server.connect();
    let mut sender = client.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        sender.write_all(&[b'x'; 300_000]).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    sending.join().unwrap();
    assert_eq!(received.iter().filter(|byte| **byte == b'x').count(), 300_000);
    assert_eq!(received.iter().filter(|byte| **byte == b'#').count() as u64, server.drain().messages);
}

#[test]
fn a_unix_peer_sees_the_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("parrot.sock");
    let server = start(Listen::unix(&path), greeting("{local} {peer}"), Limits::default());
    let mut client = UnixStream::connect(&path).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    expect(&mut client, &format!("unix:{} unix\n", path.display()));
    drop(client);
    server.drain();
    assert!(!path.exists(), "the file goes with the server");
}

#[test]
fn a_datagram_has_its_prefix_inside() {
    let server = start(Listen::udp(Addresses::localhost(0)), prefix("{local} to {peer}: "), Limits::default());
    let address = server.listening[0].address.socket_address().unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send_to(b"squawk", address).unwrap();
    let mut received = [0; 256];
    let (n, from) = client.recv_from(&mut received).unwrap();
    assert_eq!(from, address);
    let expected = format!("{address} to {}: squawk", client.local_addr().unwrap());
    assert_eq!(String::from_utf8_lossy(&received[..n]), expected);
    server.drain();
}

/// The first message of a peer that is silent would otherwise be what brings the greeting.
#[test]
fn a_greeting_waits_for_a_buffer_and_then_comes_by_itself() {
    let limits = Limits { max_buffered: Limits::default().max_output, ..Limits::default() };
    let server = start(Listen::tcp(Addresses::localhost(0)), greeting("hello"), limits);
    let mut greedy = server.connect();
    expect(&mut greedy, "hello\n");
    let sent = parrot_testkit::client::fill(&greedy, &vec![b'g'; 64 << 20]);
    let mut silent = server.connect();
    let mut finished = server.connect();
    finished.shutdown(Shutdown::Write).unwrap();
    assert!(parrot_testkit::client::is_silent(&silent), "no buffer is free");
    expect(&mut greedy, &"g".repeat(sent));
    expect(&mut silent, "hello\n");
    expect(&mut finished, "hello\n");
    assert_eq!(finished.read(&mut [0]).unwrap(), 0);
    drop((greedy, silent, finished));
    server.drain();
}
