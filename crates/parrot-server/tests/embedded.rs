//! The library embedded in a program, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parrot_server::{CloseReason, Config, Ended, Handle, Limits, Listen, LocalAddress, Server, Statistics};
use parrot_testkit::client::{self, echo, expect, is_silent, reset};
use parrot_testkit::stream::Pattern;
use parrot_testkit::wait_for;
use rustix::net::SendFlags;

struct Running {
    address: SocketAddr,
    handle: Handle,
    thread: JoinHandle<io::Result<Ended>>,
}

fn bind(limits: Limits) -> Server {
    let config =
        Config { listen: vec![Listen::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))], limits, ..Config::default() };
    Server::bind(config).expect("a free port on loopback")
}

fn start(limits: Limits) -> Running {
    let server = bind(limits);
    let address = server.local_addresses()[0];
    let handle = server.handle();
    Running { address, handle, thread: std::thread::spawn(move || server.run()) }
}

impl Running {
    fn connect(&self) -> TcpStream {
        client::connect(self.address)
    }

    fn drain(self) -> Statistics {
        self.handle.drain();
        assert_eq!(self.thread.join().expect("no panic").expect("no error of the queue"), Ended::Drained);
        self.handle.statistics()
    }

    /// Waits until the statistics meet a condition.
    fn until(&self, what: &str, wanted: impl Fn(&Statistics) -> bool) {
        let waited = wait_for(what, || Ok(wanted(&self.handle.statistics()).then_some(())));
        assert!(waited.is_ok(), "never {what}: {}", self.handle.statistics());
    }
}

fn is_at_end(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(n) => n == 0,
        Err(error) => matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
    }
}

#[test]
fn a_line_comes_back_and_is_counted() {
    let server = start(Limits::default());
    let client = server.connect();
    echo(&client, b"Hello Parrot\n");
    drop(client);
    server.until("closed", |statistics| statistics.closed(CloseReason::PeerFinished) == 1);
    let statistics = server.drain();
    assert_eq!((statistics.accepted, statistics.messages), (1, 1));
    assert_eq!((statistics.bytes_in, statistics.bytes_out), (13, 13));
}

#[test]
fn two_servers_in_one_process_do_not_meet() {
    let (one, other) = (start(Limits::default()), start(Limits::default()));
    echo(&one.connect(), b"one");
    echo(&other.connect(), b"other");
    assert_eq!(one.drain().bytes_in, 3);
    assert_eq!(other.drain().bytes_in, 5);
}

#[test]
fn a_handle_drains_a_server_without_connections() {
    let statistics = start(Limits::default()).drain();
    assert_eq!(statistics.accepted, 0);
}

#[test]
fn a_drain_before_the_run_ends_the_run() {
    let server = bind(Limits::default());
    server.handle().drain();
    assert_eq!(server.run().unwrap(), Ended::Drained);
}

#[test]
fn a_drain_shuts_down_first_and_waits_for_the_peer() {
    let server = start(Limits::default());
    let mut client = server.connect();
    echo(&client, b"before");
    server.handle.drain();
    assert!(is_at_end(&mut client), "the server finishes first");
    assert!(!server.thread.is_finished(), "the peer has not finished");
    client.shutdown(Shutdown::Write).unwrap();
    let statistics = server.drain();
    assert_eq!(statistics.closed(CloseReason::Drained), 1);
}

#[test]
fn a_drain_accepts_the_backlog() {
    // The connection and its bytes arrive before the run, so they are in the backlog when the loop sees the drain.
    // Nothing shows when they have reached the server's side (on FreeBSD a kernel thread carries them over loopback,
    // netisr(9)), so each attempt gives them more time.
    let arrived = [0, 20, 200, 2000].into_iter().any(|milliseconds| {
        let server = bind(Limits::default());
        let mut client = TcpStream::connect(server.local_addresses()[0]).unwrap();
        client.write_all(b"early").unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        server.handle().drain();
        let thread = std::thread::spawn(move || server.run());
        let mut reply = Vec::new();
        let read = client.shutdown(Shutdown::Write).and_then(|()| client.read_to_end(&mut reply));
        assert_eq!(thread.join().unwrap().unwrap(), Ended::Drained);
        read.is_ok() && reply == b"early"
    });
    assert!(arrived, "neither accepted nor echoed");
}

#[test]
fn the_drain_timeout_closes_what_has_not_ended() {
    let server = start(Limits { drain_timeout: Duration::from_millis(50), ..Limits::default() });
    let mut client = server.connect();
    echo(&client, b"still here");
    let statistics = server.drain();
    assert_eq!(statistics.closed(CloseReason::DrainTimeout), 1);
    assert!(is_at_end(&mut client));
}

#[test]
fn connections_above_the_limit_are_closed_and_counted() {
    let server = start(Limits { max_connections: Some(2), ..Limits::default() });
    let clients = [server.connect(), server.connect()];
    clients.iter().for_each(|client| echo(client, b"in"));
    assert!(is_at_end(&mut server.connect()));
    clients.iter().for_each(|client| echo(client, b"still in"));
    drop(clients);
    server.until("closed", |statistics| statistics.connections == 0);
    echo(&server.connect(), b"room again");
    assert_eq!(server.drain().refused, 1);
}

#[test]
fn the_idle_timeout_closes_a_quiet_connection() {
    let idle = Duration::from_secs(1);
    let server = start(Limits { idle_timeout: Some(idle), ..Limits::default() });
    let mut client = server.connect();
    let start = Instant::now();
    for _ in 0..3 {
        // Each pause is shorter than the timeout, and all of them together are longer.
        std::thread::sleep(idle / 2);
        echo(&client, b"not idle");
    }
    let last = Instant::now();
    assert!(is_at_end(&mut client), "idle now");
    assert!(last.duration_since(start) > idle, "bytes put the timeout off");
    assert!(start.elapsed() >= idle * 5 / 2, "closed before it was idle for the whole time");
    assert_eq!(server.drain().closed(CloseReason::IdleTimeout), 1);
}

#[test]
fn a_half_closed_peer_gets_its_bytes_and_then_the_end() {
    let server = start(Limits::default());
    let mut client = server.connect();
    let sent = Pattern(2).bytes(3_000_000);
    let writer = {
        let (mut client, sent) = (client.try_clone().unwrap(), sent.clone());
        std::thread::spawn(move || {
            client.write_all(&sent).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        })
    };
    // Nothing is read until everything that fits is in flight.
    server.until("full", |statistics| statistics.bytes_in >= 128 * 1024);
    let mut reply = Vec::new();
    client.read_to_end(&mut reply).unwrap();
    writer.join().unwrap();
    assert_eq!(reply.len(), sent.len());
    assert!(reply == sent, "every byte in its place");
    assert_eq!(server.drain().closed(CloseReason::PeerFinished), 1);
}

#[test]
fn urgent_bytes_are_echoed_in_their_place() {
    let server = start(Limits::default());
    let mut client = server.connect();
    let mut expected = Vec::new();
    for round in 0..50u8 {
        for (bytes, flags) in
            [(b"before".as_slice(), SendFlags::empty()), (&[round], SendFlags::OOB), (b"after", SendFlags::empty())]
        {
            assert_eq!(rustix::net::send(&client, bytes, flags).unwrap(), bytes.len());
            expected.extend_from_slice(bytes);
        }
    }
    let mut reply = vec![0; expected.len()];
    client.read_exact(&mut reply).unwrap();
    assert_eq!(reply, expected);
    drop(client);
    server.drain();
}

#[test]
fn urgent_bytes_sent_before_the_accept_are_echoed_too() {
    let server = bind(Limits::default());
    let mut client = TcpStream::connect(server.local_addresses()[0]).unwrap();
    for urgent in [b"x", b"y"] {
        assert_eq!(rustix::net::send(&client, urgent, SendFlags::OOB).unwrap(), 1);
    }
    client.write_all(b"rest").unwrap();
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.run());
    let mut reply = [0; 6];
    client.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"xyrest");
    drop(client);
    handle.drain();
    thread.join().unwrap().unwrap();
}

/// A peer that has sent until its socket took no more, and that reads nothing, so that it holds a buffer. Also returns
/// how many bytes it has sent.
fn stalled(server: &Running) -> (TcpStream, usize) {
    let client = server.connect();
    let sent = stall(&client);
    (client, sent)
}

/// Sends until the socket takes no more.
fn stall(mut client: &TcpStream) -> usize {
    client.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_millis(200) {
        match client.write(&[b'g'; 65_536]) {
            Ok(n) => (sent, last) = (sent + n, Instant::now()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    client.set_nonblocking(false).unwrap();
    sent
}

const ONE_BUFFER: usize = 4096;

fn with_one_buffer() -> Running {
    start(Limits { max_output: ONE_BUFFER, max_buffered: ONE_BUFFER, ..Limits::default() })
}

#[test]
fn at_the_cap_peers_that_read_leave_room_for_others() {
    let server = with_one_buffer();
    let done = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..2)
        .map(|_| {
            let (mut client, done) = (server.connect(), Arc::clone(&done));
            let mut reader = client.try_clone().unwrap();
            let reading = std::thread::spawn(move || io::copy(&mut reader, &mut io::sink()).unwrap());
            std::thread::spawn(move || {
                let mut sent = 0;
                while !done.load(Ordering::Relaxed) {
                    sent += client.write(&[b'b'; 65_536]).unwrap() as u64;
                }
                client.shutdown(Shutdown::Write).unwrap();
                assert_eq!(reading.join().unwrap(), sent);
            })
        })
        .collect();
    server.until("busy", |statistics| statistics.bytes_out > 1_000_000);
    let client = server.connect();
    for _ in 0..10 {
        echo(&client, b"a word");
    }
    done.store(true, Ordering::Relaxed);
    busy.into_iter().for_each(|thread| thread.join().unwrap());
    drop(client);
    server.drain();
}

#[test]
fn at_the_cap_a_peer_that_leaves_is_noticed() {
    let server = with_one_buffer();
    let (stalled, _) = stalled(&server);
    let mut waiting: Vec<TcpStream> = (0..3).map(|_| server.connect()).collect();
    waiting.iter_mut().for_each(|client| client.write_all(b"waits").unwrap());
    let quiet: Vec<TcpStream> = (0..3).map(|_| server.connect()).collect();
    server.until("accepted", |statistics| statistics.accepted == 7);
    waiting.into_iter().for_each(|client| reset(client).unwrap());
    drop(quiet);
    server.until("closed", |statistics| statistics.connections == 1);
    let statistics = server.handle.statistics();
    assert_eq!((statistics.closed(CloseReason::Reset), statistics.closed(CloseReason::PeerFinished)), (3, 3));
    drop(stalled);
    server.drain();
}

#[test]
fn at_the_cap_a_quiet_connection_is_drained_too() {
    let server = with_one_buffer();
    let (stalled, _) = stalled(&server);
    let mut quiet = server.connect();
    server.until("accepted", |statistics| statistics.accepted == 2);
    server.handle.drain();
    assert!(is_at_end(&mut quiet));
    let patience = server.handle.statistics();
    assert_eq!(patience.closed(CloseReason::DrainTimeout), 0, "ended by the drain, not by its timeout");
    drop((stalled, quiet));
    server.drain();
}

#[test]
fn a_peer_that_reads_slowly_is_not_idle() {
    let idle = Duration::from_secs(1);
    let server = start(Limits { idle_timeout: Some(idle), ..Limits::default() });
    let mut client = server.connect();
    // With a small window, every read soon makes room at the sender.
    rustix::net::sockopt::set_socket_recv_buffer_size(&client, 32 * 1024).unwrap();
    let sent = stall(&client);
    let start = Instant::now();
    let mut received = 0;
    while start.elapsed() < idle * 3 && received < sent {
        received += client.read(&mut [0; 4096]).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    client.shutdown(Shutdown::Write).unwrap();
    received += io::copy(&mut client, &mut io::sink()).unwrap() as usize;
    assert_eq!(received, sent);
    server.drain();
}

#[test]
fn at_the_cap_a_connection_waits_until_a_buffer_is_free() {
    let server = with_one_buffer();
    let (greedy, sent) = stalled(&server);
    let mut patient = server.connect();
    patient.write_all(b"patience").unwrap();
    server.until("accepted", |statistics| statistics.accepted == 2);
    assert!(is_silent(&patient), "no buffer is free");

    expect(&greedy, &vec![b'g'; sent]);
    expect(&patient, b"patience");
    drop((greedy, patient));
    server.drain();
}

#[test]
fn a_port_of_zero_is_the_same_for_both_families() {
    let server = Server::bind(Config::default()).unwrap();
    let ports: Vec<u16> = server.local_addresses().iter().map(SocketAddr::port).collect();
    assert!(ports.iter().all(|port| *port == ports[0] && *port != 0), "{ports:?}");
}

#[test]
fn an_address_may_have_a_port_of_its_own() {
    let own = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let server =
        Server::bind(Config { listen: vec![Listen::tcp(vec![any, own, any, own])], ..Config::default() }).unwrap();
    let [free, own_again] = server.local_addresses() else { panic!("each once: {server:?}") };
    assert!(*own_again == own && free.port() != 0, "{server:?}");
    let taken = Config { listen: vec![Listen::tcp(own)], ..Config::default() };
    let error = Server::bind(taken).expect_err("one server has it");
    assert_eq!(error.address(), Some(&LocalAddress::Tcp(own)));
}

#[test]
fn a_taken_port_is_named_in_the_error() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let config = Config { listen: vec![Listen::tcp(address)], ..Config::default() };
    let error = Server::bind(config).expect_err("the port is taken");
    assert_eq!((error.address(), error.kind()), (Some(&LocalAddress::Tcp(address)), ErrorKind::AddrInUse));
    assert!(error.to_string().contains(&address.to_string()));
}

#[test]
fn an_address_of_another_machine_is_an_error() {
    // RFC 5737 reserves this address for documentation.
    let config =
        Config { listen: vec![Listen::tcp("192.0.2.1:0".parse::<SocketAddr>().unwrap())], ..Config::default() };
    assert_eq!(Server::bind(config).expect_err("not ours").kind(), ErrorKind::AddrNotAvailable);
}

#[test]
fn a_reset_is_an_ordinary_end_and_others_go_on() {
    let server = start(Limits::default());
    let other = server.connect();
    echo(&other, b"hello");
    let client = server.connect();
    echo(&client, b"hello");
    reset(client).unwrap();
    server.until("reset", |statistics| statistics.closed(CloseReason::Reset) == 1);
    echo(&other, b"still here");
    drop(other);
    server.drain();
}
