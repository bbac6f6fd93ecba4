//! A million connections, on a host that has no sockets: what they take in memory, and what a turn takes among them.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use parrot_server::simulation::{
    ConnectionKey, Event, EventLoop, Host, Label, OpenListener, Opened, Settings, Target, Watch,
};
use parrot_server::{Limits, Peer};
use parrot_testkit::usage::Usage;
use parrot_udp::{Batch, Replied};
use rustix::process::getpid;

const MILLION: usize = 1_000_000;

const MESSAGE: &[u8] = b"squawk";

/// One test at a time, because both fill the memory of one process.
static ONE: Mutex<()> = Mutex::new(());

/// As long as a descriptor.
struct Socket(u32);

/// A host with connections that speak when they are told to. It counts the calls of the loop.
struct Quiet {
    start: Instant,
    turns: u32,
    to_accept: u32,
    /// The key of each socket's connection.
    keys: Vec<ConnectionKey>,
    /// The sockets that have a message, as events and then as bytes.
    speaking: VecDeque<u32>,
    events: VecDeque<Event>,
    calls: u64,
    echoed: usize,
}

impl Host for Quiet {
    type Listener = ();
    type Socket = Socket;
    type DatagramSocket = Infallible;
    type Hasher = std::hash::RandomState;

    fn now(&mut self) -> Instant {
        self.start + self.turns * Duration::from_millis(1)
    }

    fn wait(&mut self, _: Option<Duration>) -> io::Result<()> {
        self.calls += 1;
        self.turns += 1;
        if self.to_accept > 0 {
            let available = NonZeroU64::new(self.to_accept.into());
            self.events.push_back(Event::Backlog { listener: 0, available });
        }
        // As many as a wait of the native host reports.
        for socket in self.speaking.iter().take(1024) {
            let connection = self.keys[*socket as usize];
            self.events.push_back(Event::Readable { connection, read_on: false, available: None });
        }
        Ok(())
    }

    fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn watch(&mut self, what: Watch<'_, Self>, target: Target) -> io::Result<()> {
        self.calls += 1;
        if let (Watch::Read(Socket(socket)), Target::Connection(key)) = (what, target) {
            assert_eq!(*socket as usize, self.keys.len());
            self.keys.push(key);
        }
        Ok(())
    }

    fn accept(&mut self, (): &()) -> io::Result<(Socket, Peer)> {
        self.calls += 1;
        let Some(left) = self.to_accept.checked_sub(1) else { return Err(ErrorKind::WouldBlock.into()) };
        self.to_accept = left;
        Ok((Socket(self.keys.len() as u32), Peer::from(SocketAddr::from((Ipv6Addr::LOCALHOST, 1)))))
    }

    fn set_up(&mut self, _: &Socket, (): &()) -> io::Result<()> {
        Ok(())
    }

    fn receive(&mut self, socket: &Socket, space: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.speaking.pop_front_if(|speaking| *speaking == socket.0).is_none() {
            return Err(ErrorKind::WouldBlock.into());
        }
        space[..MESSAGE.len()].copy_from_slice(MESSAGE);
        Ok(MESSAGE.len())
    }

    fn send(&mut self, _: &Socket, bytes: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        assert_eq!(bytes, MESSAGE);
        self.echoed += 1;
        Ok(bytes.len())
    }

    fn message_with_faults(&mut self, peer: &Peer, _: &str, payload: &[u8]) {
        self.message(peer, payload);
    }

    fn message(&mut self, _: &Peer, _: &[u8]) {}

    // Connections that stay open, and only streams, need none of these.

    fn unwatch(&mut self, _: Watch<'_, Self>) -> io::Result<()> {
        unreachable!()
    }

    fn local_address(&mut self, _: &Socket) -> io::Result<SocketAddr> {
        unreachable!()
    }

    fn has_backlog(&mut self, (): &()) -> io::Result<bool> {
        unreachable!()
    }

    fn peek(&mut self, _: &Socket, _: &mut [u8]) -> io::Result<usize> {
        unreachable!()
    }

    fn shut_down(&mut self, _: &Socket) -> io::Result<()> {
        unreachable!()
    }

    fn close(&mut self, _: Socket) {
        unreachable!()
    }

    fn reset(&mut self, _: Socket) {
        unreachable!()
    }

    fn close_listener(&mut self, (): ()) {
        unreachable!()
    }

    fn receive_datagrams(&mut self, socket: &mut Infallible, _: &mut Batch) -> io::Result<usize> {
        match *socket {}
    }

    fn reply_datagrams(&mut self, socket: &mut Infallible, _: &Batch) -> Replied {
        match *socket {}
    }

    fn dropped_datagrams(&mut self, socket: &mut Infallible) -> u64 {
        match *socket {}
    }

    fn close_datagrams(&mut self, socket: Infallible) {
        match socket {}
    }
}

/// A loop with an idle timeout and this many connections, all of which have spoken.
fn with_connections(count: usize) -> EventLoop<Quiet> {
    let host = Quiet {
        start: Instant::now(),
        turns: 0,
        to_accept: count as u32,
        keys: Vec::with_capacity(count),
        speaking: VecDeque::new(),
        events: VecDeque::new(),
        calls: 0,
        echoed: 0,
    };
    let label = Label { name: "quiet".into(), address: "quiet".into() };
    let listener = OpenListener {
        listener: (),
        label,
        given: false,
        proxy_protocol: false,
        accepted: Arc::default(),
        faults: None,
    };
    let opened = Opened { listeners: vec![listener], datagrams: Vec::new() };
    let limits = Limits { idle_timeout: Some(Duration::from_secs(24 * 60 * 60)), ..Limits::default() };
    let mut event_loop =
        EventLoop::new(host, opened, Settings { limits, ..Settings::default() }, Arc::default()).unwrap();
    while event_loop.host().keys.len() < count {
        let _ = event_loop.turn().unwrap();
    }
    while event_loop.host().echoed < count {
        if event_loop.host().speaking.is_empty() {
            let spoken = event_loop.host().echoed;
            event_loop.host().speaking.extend((spoken..count).take(1024).map(|socket| socket as u32));
        }
        let _ = event_loop.turn().unwrap();
    }
    event_loop
}

#[test]
fn a_million_connections_take_110_megabytes() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // 0 on systems that do not show it.
    let resident = || Usage::of(getpid()).map_or(0, |usage| usage.memory);
    let before = resident();
    let mut event_loop = with_connections(MILLION);
    let resident = resident().saturating_sub(before);
    let snapshot = event_loop.snapshot();
    assert_eq!((snapshot.connections, snapshot.deadlines, snapshot.lent), (MILLION, MILLION, 0));
    let tables = snapshot.table_bytes;
    println!("tables of {tables} bytes, {} for each connection", tables as f64 / MILLION as f64);
    assert!(tables <= 110_000_000, "{tables} bytes");
    // The tables, this host's list of keys, and some buffers.
    let most = tables + size_of_val(event_loop.host().keys.as_slice()) + (4 << 20);
    assert!(resident <= most as u64, "{resident} bytes more are resident, which is more than {most}");
}

/// The calls of a turn in which one connection speaks, and the least time that such a turn takes.
fn turn_for_one(count: usize) -> (u64, Duration) {
    let mut event_loop = with_connections(count);
    let (mut calls, mut least) = (0, Duration::MAX);
    for _ in 0..1000 {
        let before = event_loop.host().calls;
        event_loop.host().speaking.push_back(count as u32 / 2);
        let start = Instant::now();
        let _ = event_loop.turn().unwrap();
        least = least.min(start.elapsed());
        calls = event_loop.host().calls - before;
    }
    (calls, least)
}

#[test]
fn an_idle_million_adds_nothing_to_a_turn() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (few, many) = (turn_for_one(10), turn_for_one(MILLION));
    println!("a turn for one connection among 10 and among a million: {few:?}, {many:?}");
    assert_eq!((few.0, many.0), (3, 3), "a wait, a receive and a send");
    // A look at each of a million connections would take a millisecond.
    assert!(many.1 < Duration::from_micros(100), "{many:?} instead of {few:?}");
}
