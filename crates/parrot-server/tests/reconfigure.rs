//! Changes to a server that runs, over real sockets: no connection is lost, and what a change promises holds at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::num::NonZeroU32;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use parrot_server::{
    CloseReason, Config, Ended, Handle, Limits, Listen, LocalAddress, Refusal, Replies, Server, Settings, Template,
    UdpRules,
};
use parrot_testkit::client::{connect, datagram_client, echo, expect, expect_end, fill, is_silent};
use parrot_testkit::stream::Pattern;
use parrot_testkit::wait_until;

struct Running {
    address: SocketAddr,
    handle: Handle,
    thread: JoinHandle<Ended>,
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn bind(settings: Settings) -> Server {
    let Settings { limits, proxy, replies, udp, .. } = settings;
    Server::bind(Config { listen: vec![Listen::tcp(loopback())], limits, proxy, replies, udp, ..Config::default() })
        .unwrap()
}

fn run(server: Server) -> Running {
    let (address, handle) = (server.local_addresses()[0], server.handle());
    Running { address, handle, thread: std::thread::spawn(move || server.run().unwrap()) }
}

fn start(settings: Settings) -> Running {
    run(bind(settings))
}

fn limits(limits: Limits) -> Settings {
    Settings { limits, ..Settings::default() }
}

impl Running {
    fn set(&self, settings: Settings) {
        self.handle.set_settings(settings).unwrap();
        self.wait_for_changes();
    }

    fn close(&self, address: LocalAddress) {
        self.handle.close_listeners(&[address]);
        self.wait_for_changes();
    }

    /// Waits until the loop has made the changes that it was asked for, which is at the end of its next turn.
    fn wait_for_changes(&self) {
        let turns = || self.handle.statistics().turns;
        let before = turns();
        wait_until("two more turns", || {
            self.handle.wake().unwrap();
            turns() >= before + 2
        });
    }

    fn closed(&self, reason: CloseReason) -> u64 {
        self.handle.statistics().closed(reason)
    }

    fn end(self) {
        self.handle.drain();
        assert_eq!(self.thread.join().unwrap(), Ended::Drained);
    }
}

fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// Has the loop of a server wait at its next interval until the result is dropped.
fn hold(server: &mut Server) -> Sender<()> {
    let (sender, receiver) = mpsc::channel::<()>();
    server.set_on_interval(Duration::from_millis(1), move || {
        let _ = receiver.recv();
    });
    sender
}

#[test]
fn a_new_limit_of_connections_spares_those_that_are_open() {
    let server = start(Settings::default());
    let open = [connect(server.address), connect(server.address)];
    open.iter().for_each(|client| echo(client, b"before"));
    server.set(limits(Limits { max_connections: Some(2), ..Limits::default() }));
    expect_end(&connect(server.address));
    open.iter().for_each(|client| echo(client, b"after"));
    server.set(limits(Limits { max_connections: Some(3), ..Limits::default() }));
    echo(&connect(server.address), b"room again");
    drop(open);
    server.end();
}

#[test]
fn a_new_idle_timeout_holds_for_open_connections() {
    let server = start(Settings::default());
    let client = connect(server.address);
    echo(&client, b"squawk");
    server.set(limits(Limits { idle_timeout: Some(Duration::from_millis(50)), ..Limits::default() }));
    expect_end(&client);
    wait_until("the close is counted", || server.closed(CloseReason::IdleTimeout) == 1);
    server.end();
}

#[test]
fn a_longer_or_missing_idle_timeout_lets_connections_stay() {
    for idle_timeout in [Some(Duration::from_secs(3600)), None] {
        let idle = Duration::from_millis(300);
        let server = start(limits(Limits { idle_timeout: Some(idle), ..Limits::default() }));
        let client = connect(server.address);
        echo(&client, b"squawk");
        server.set(limits(Limits { idle_timeout, ..Limits::default() }));
        // Another server closes a connection of the same age meanwhile.
        let other = start(limits(Limits { idle_timeout: Some(idle), ..Limits::default() }));
        expect_end(&connect(other.address));
        echo(&client, b"still here");
        assert_eq!(server.closed(CloseReason::IdleTimeout), 0);
        drop(client);
        server.end();
        other.end();
    }
}

#[test]
fn more_memory_serves_a_connection_that_waits_for_a_buffer() {
    const ONE: usize = 4096;
    let with = |max_buffered| limits(Limits { max_output: ONE, max_buffered, ..Limits::default() });
    let server = start(with(ONE));
    let greedy = connect(server.address);
    fill(&greedy, &Pattern(1).bytes(32 << 20));
    let mut patient = connect(server.address);
    patient.write_all(b"patience").unwrap();
    assert!(is_silent(&patient), "no buffer is free");
    server.set(with(2 * ONE));
    expect(&patient, b"patience");
    assert_eq!(server.handle.statistics().buffered_bytes_limit, 2 * ONE as u64);
    drop((greedy, patient));
    server.end();
}

#[test]
fn new_replies_greet_those_who_come_later() {
    let server = start(Settings::default());
    let early = connect(server.address);
    echo(&early, b"squawk");
    let greeting = |text| Replies { greeting: Some(Template::line(text, |_| None).unwrap()), prefix: None };
    server.set(Settings { replies: greeting("welcome"), ..Settings::default() });
    expect(&connect(server.address), b"welcome\n");
    echo(&early, b"still plain");
    drop(early);
    server.end();
}

#[test]
fn a_prefix_that_leaves_no_room_changes_nothing() {
    let server = start(Settings::default());
    let prefix =
        |length| Replies { greeting: None, prefix: Some(Template::raw(&"x".repeat(length), |_| None).unwrap()) };
    let settings = |length| Settings { replies: prefix(length), ..Settings::default() };
    assert!(server.handle.set_settings(settings(131_072)).is_err());
    echo(&connect(server.address), b"squawk");
    // A longer one than fits into a datagram is an error once there are datagrams.
    server.set(settings(70_000));
    assert!(server.handle.listen(vec![Listen::udp(loopback())]).is_err());
    server.set(settings(1));
    server.handle.listen(vec![Listen::udp(loopback())]).unwrap();
    assert!(server.handle.set_settings(settings(70_000)).is_err());
    server.end();
}

#[test]
fn a_prefix_and_the_places_that_it_suits_change_together() {
    let server = start(Settings::default());
    let prefix =
        |length| Replies { greeting: None, prefix: Some(Template::raw(&"x".repeat(length), |_| None).unwrap()) };
    let settings = |length| Settings { replies: prefix(length), ..Settings::default() };
    server.set(settings(70_000));
    let listening = server.handle.reconfigure(settings(1), vec![Listen::udp(loopback())], &[]).unwrap();
    let udp = listening[0][0].address.clone();
    let client = datagram_client(loopback());
    client.send_to(b"squawk", udp.socket_address().unwrap()).unwrap();
    let mut reply = [0; 16];
    assert_eq!(client.recv(&mut reply).unwrap(), 7);

    assert!(
        server.handle.reconfigure(settings(70_000), vec![Listen::udp(loopback())], std::slice::from_ref(&udp)).is_err()
    );
    assert_eq!(server.handle.listeners().len(), 2);
    server.handle.reconfigure(settings(70_000), Vec::new(), &[udp]).unwrap();
    server.wait_for_changes();
    assert_eq!(server.handle.listeners().len(), 1);
    server.end();
}

#[test]
fn further_places_are_listened_on() {
    let server = start(Settings::default());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("parrot.sock");
    let places = vec![Listen::tcp(loopback()).named("more"), Listen::udp(loopback()), Listen::unix(&path)];
    let listening = server.handle.listen(places).unwrap();
    let more = listening[0][0].address.socket_address().unwrap();
    let udp = listening[1][0].address.socket_address().unwrap();
    let shown: Vec<_> = server.handle.listeners().into_iter().map(|listener| listener.listening).collect();
    assert_eq!(shown[1..], listening.concat());

    echo(&connect(more), b"squawk");
    let datagrams = datagram_client(loopback());
    datagrams.send_to(b"squawk", udp).unwrap();
    assert_eq!(datagrams.recv(&mut [0; 16]).unwrap(), 6);
    let mut unix = std::os::unix::net::UnixStream::connect(&path).unwrap();
    unix.write_all(b"squawk").unwrap();
    unix.read_exact(&mut [0; 6]).unwrap();
    assert_eq!(server.handle.listeners()[1].accepted, Some(1));
    drop(unix);
    server.end();
    assert!(!path.exists(), "the file goes with its listener");
}

#[test]
fn a_place_that_is_taken_adds_no_other_either() {
    let server = start(Settings::default());
    let taken = TcpListener::bind(loopback()).unwrap().local_addr().unwrap();
    let free = TcpListener::bind(loopback()).unwrap().local_addr().unwrap();
    let _taken = TcpListener::bind(taken).unwrap();
    let error = server.handle.listen(vec![Listen::tcp(free), Listen::tcp(taken)]).unwrap_err();
    assert_eq!(error.address(), Some(&LocalAddress::Tcp(taken)));
    assert!(is_refused(free));
    assert_eq!(server.handle.listeners().len(), 1);
    server.end();
}

#[test]
fn a_closed_listener_keeps_its_connections_and_its_place() {
    let server = start(Settings::default());
    let client = connect(server.address);
    echo(&client, b"before");
    server.handle.close_listeners(&[LocalAddress::Tcp(server.address)]);
    wait_until("it is closed", || is_refused(server.address));
    echo(&client, b"after");
    assert!(server.handle.listeners().is_empty());
    // A server without listeners still can have new ones, and at the same place.
    server.handle.listen(vec![Listen::tcp(server.address)]).unwrap();
    echo(&connect(server.address), b"again");
    drop(client);
    server.end();
}

#[test]
fn the_backlog_of_a_closed_listener_is_accepted_first() {
    let mut server = bind(Settings::default());
    let held = hold(&mut server);
    let server = run(server);
    // More than one turn accepts would be reset by a full backlog on some systems.
    let clients: Vec<TcpStream> = (0..120).map(|_| connect(server.address)).collect();
    clients.iter().for_each(|mut client| client.write_all(b"waits").unwrap());
    server.handle.close_listeners(&[LocalAddress::Tcp(server.address)]);
    drop(held);
    clients.iter().for_each(|client| expect(client, b"waits"));
    wait_until("it is closed", || is_refused(server.address));
    assert_eq!(server.handle.statistics().accepted, 120);
    drop(clients);
    server.end();
}

#[test]
fn the_backlog_of_a_given_listener_is_left_to_others() {
    let given = TcpListener::bind(loopback()).unwrap();
    let address = given.local_addr().unwrap();
    let listen = vec![Listen::tcp(loopback()), Listen::from(given.try_clone().unwrap())];
    let server = run(Server::bind(Config { listen, ..Config::default() }).unwrap());
    echo(&connect(address), b"squawk");
    server.close(LocalAddress::Tcp(address));
    let client = connect(address);
    given.set_nonblocking(false).unwrap();
    assert_eq!(given.accept().unwrap().1, client.local_addr().unwrap());
    server.end();
}

#[test]
fn udp_rules_and_sockets_change_at_once() {
    let server = start(Settings::default());
    let listening = server.handle.listen(vec![Listen::udp(loopback()), Listen::udp(loopback())]).unwrap();
    let addresses: Vec<_> = listening.iter().map(|place| place[0].address.socket_address().unwrap()).collect();
    let client = datagram_client(loopback());
    let ask = |address| client.send_to(b"squawk", address).unwrap();
    for address in &addresses {
        ask(address);
        assert_eq!(client.recv(&mut [0; 16]).unwrap(), 6);
    }
    // One answer a second, and 127.0.0.0/24 is one network.
    let rules = UdpRules { rate: NonZeroU32::new(1), ..UdpRules::default() };
    server.set(Settings { udp: rules, ..Settings::default() });
    wait_until("a datagram is refused", || {
        ask(&addresses[0]);
        server.handle.statistics().refused_datagrams(Refusal::RateLimited) > 0
    });
    server.close(listening[0][0].address.clone());
    UdpSocket::bind(addresses[0]).unwrap();
    server.set(Settings::default());
    client.set_nonblocking(true).unwrap();
    wait_until("the other one answers without a bound", || {
        ask(&addresses[1]);
        client.recv(&mut [0; 16]).is_ok()
    });
    server.end();
}

#[test]
fn a_server_that_has_ended_listens_no_more() {
    let server = start(Settings::default());
    let handle = server.handle.clone();
    server.end();
    let error = handle.listen(vec![Listen::tcp(loopback())]).unwrap_err();
    assert_eq!(error.to_string(), "the server listens no more");
    handle.set_settings(Settings::default()).unwrap();
    handle.close_listeners(&[]);
}
