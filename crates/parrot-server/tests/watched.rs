//! What a handle shows of a server, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use parrot_server::{CloseReason, Config, Handle, Limits, Listen, Server, Stage, Statistics};
use parrot_testkit::client::{connect, echo, expect_end, fill};
use parrot_testkit::stream::Pattern;
use parrot_testkit::wait_until;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn bind(limits: Limits) -> Server {
    Server::bind(Config { listen: vec![Listen::tcp(LOOPBACK)], limits, ..Config::default() }).unwrap()
}

/// Runs a server with some clients, and returns its final statistics.
fn run(server: Server, clients: impl FnOnce(&Handle, SocketAddr)) -> Statistics {
    let (handle, address) = (server.handle(), server.local_addresses()[0]);
    let thread = thread::spawn(move || server.run());
    clients(&handle, address);
    handle.drain();
    thread.join().unwrap().unwrap();
    handle.statistics()
}

#[test]
fn a_handle_shows_each_stage() {
    let server = bind(Limits::default());
    let handle = server.handle();
    assert_eq!(handle.stage(), Stage::Bound);
    run(server, |handle, address| {
        let client = connect(address);
        echo(&client, b"squawk");
        assert_eq!(handle.stage(), Stage::Serving);
        handle.drain();
        // The drain shuts the server's side down and then waits for this client.
        expect_end(&client);
        assert_eq!(handle.stage(), Stage::Draining);
    });
    assert_eq!(handle.stage(), Stage::Ended);
}

#[test]
fn each_listener_counts_what_it_accepts() {
    let listen = vec![Listen::tcp(LOOPBACK), Listen::udp(LOOPBACK), Listen::tcp(LOOPBACK).named("web")];
    let server = Server::bind(Config { listen, ..Config::default() }).unwrap();
    let (handle, web) = (server.handle(), server.local_addresses()[1]);
    run(server, |_, address| {
        echo(&connect(address), b"squawk");
        echo(&connect(web), b"squawk");
        echo(&connect(web), b"squawk");
    });
    let listeners = handle.listeners();
    assert_eq!(listeners.iter().map(|listener| listener.accepted).collect::<Vec<_>>(), [Some(1), None, Some(2)]);
    assert_eq!(listeners[2].listening.name.as_deref(), Some("web"));
    assert_eq!(handle.statistics().accepted, 3);
}

#[test]
fn an_idle_server_makes_a_turn_when_it_is_woken() {
    run(bind(Limits::default()), |handle, address| {
        echo(&connect(address), b"squawk");
        wait_until("it is idle", || handle.statistics().closed(CloseReason::PeerFinished) == 1);
        let before = handle.statistics().turns;
        handle.wake().unwrap();
        wait_until("it makes a turn", || handle.statistics().turns > before);
    });
}

#[test]
fn turns_are_timed_on_request() {
    let with_idle_timeout = || bind(Limits { idle_timeout: Some(Duration::from_millis(1)), ..Limits::default() });
    let client = |_: &Handle, address| expect_end(&connect(address));
    let untimed = run(with_idle_timeout(), client);
    assert_eq!((untimed.turn_times.count(), untimed.lateness.count()), (0, 0));

    let mut server = with_idle_timeout();
    server.time_turns();
    let timed = run(server, client);
    assert_eq!(timed.closed(CloseReason::IdleTimeout), 1);
    assert_eq!(timed.turn_times.count(), timed.turns);
    assert!((1..=timed.turns).contains(&timed.lateness.count()), "{:?}", timed.lateness);
    assert!(timed.turn_times.total() > Duration::ZERO && timed.lateness.total() > Duration::ZERO);
}

#[test]
fn a_peer_that_does_not_read_shows_in_buffered_bytes() {
    let limits = Limits { max_buffered: 1 << 20, ..Limits::default() };
    let statistics = run(bind(limits), |handle, address| {
        let client: TcpStream = connect(address);
        assert_eq!(handle.statistics().buffered_bytes, 0);
        fill(&client, &Pattern(1).bytes(64 << 20));
        wait_until("its reply is in a buffer", || handle.statistics().buffered_bytes > 0);
        client.shutdown(Shutdown::Both).unwrap();
    });
    assert_eq!((statistics.buffered_bytes, statistics.buffered_bytes_limit), (0, 1 << 20));
}
