//! The faults of the program that Parrot re-implements, as lies about the system: the loop does what that program did.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use parrot_kqueue::Token;
use parrot_server::system::{Event, Pages, System, Watch};
use parrot_simulator::{Kernel, Listener, Queue, Simulated, Socket};

/// What the original program does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// None: the wrapper itself must not be found.
    None,
    /// The number of bytes that a write took is not looked at.
    ShortWriteIgnored,
    /// Any error of a read closes, also "would block".
    ClosedWhenEmpty,
    /// The end-of-file flag of an event closes, with bytes pending.
    ClosedAtFlag,
    /// Everything in the backlog is accepted in one turn.
    AcceptWithoutLimit,
    /// Without descriptors the listener is asked again and again.
    NoBackOff,
    /// The wish to write is never taken back.
    WriteNeverDisarmed,
    /// An event names a slot, whoever is in it now.
    NoGeneration,
}

/// A system that lies to the loop.
pub struct Liar {
    kernel: Kernel,
    fault: Fault,
    /// The whole token of each slot's connection.
    tokens: HashMap<usize, Token>,
    /// The connections, by token.
    links: HashMap<usize, usize>,
    /// Connections whose end was flagged.
    flagged: HashSet<usize>,
    accepted: VecDeque<io::Result<(Socket, SocketAddr)>>,
    armed: HashSet<usize>,
    /// The listeners that the loop believes to be unwatched.
    unwatched: HashSet<usize>,
}

impl Liar {
    pub fn new(kernel: Kernel, fault: Fault) -> Liar {
        Liar {
            kernel,
            fault,
            tokens: HashMap::new(),
            links: HashMap::new(),
            flagged: HashSet::new(),
            accepted: VecDeque::new(),
            armed: HashSet::new(),
            unwatched: HashSet::new(),
        }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

impl Simulated for Liar {
    fn kernel(&mut self) -> &mut Kernel {
        &mut self.kernel
    }
}

fn slot(token: Token) -> usize {
    token.0 & u32::MAX as usize
}

/// The same wish, of the kernel in place of the wrapper.
fn told<'a>(what: &Watch<'a, Liar>) -> Watch<'a, Kernel> {
    match what {
        Watch::Accept(listener) => Watch::Accept(*listener),
        Watch::Read(socket) => Watch::Read(*socket),
        Watch::Write(socket) => Watch::Write(*socket),
    }
}

impl System for Liar {
    type Listener = Listener;
    type Socket = Socket;
    type Queue = Queue;

    fn now(&mut self) -> Instant {
        self.kernel.now()
    }

    fn wait(&mut self, queue: &mut Queue, timeout: Option<Duration>) -> io::Result<()> {
        self.kernel.wait(queue, timeout)
    }

    fn next_event(&mut self, queue: &mut Queue) -> Option<Event> {
        let mut event = self.kernel.next_event(queue)?;
        if let Event::Readable { token, read_on: true, .. } = &event
            && let Some(link) = self.links.get(&token.0)
        {
            self.flagged.insert(*link);
        }
        if let Event::Readable { token, .. } | Event::Writable { token } = &mut event
            && self.is(Fault::NoGeneration)
        {
            *token = self.tokens.get(&slot(*token)).copied().unwrap_or(*token);
        }
        Some(event)
    }

    fn watch(&mut self, queue: &mut Queue, what: Watch<'_, Self>, token: Token) -> io::Result<()> {
        match &what {
            // It was never unwatched.
            Watch::Accept(listener) if self.unwatched.remove(&listener.port) => return Ok(()),
            Watch::Read(socket) => {
                self.tokens.insert(slot(token), token);
                self.links.insert(token.0, socket.link);
            }
            Watch::Write(socket) if self.is(Fault::WriteNeverDisarmed) => {
                self.armed.insert(socket.link);
            }
            _ => {}
        }
        self.kernel.watch(queue, told(&what), token)
    }

    fn unwatch(&mut self, queue: &mut Queue, what: Watch<'_, Self>) -> io::Result<()> {
        match &what {
            Watch::Accept(listener) if self.is(Fault::NoBackOff) => {
                self.unwatched.insert(listener.port);
                Ok(())
            }
            Watch::Write(_) if self.is(Fault::WriteNeverDisarmed) => Ok(()),
            _ => self.kernel.unwatch(queue, told(&what)),
        }
    }

    fn allocate(size: usize) -> Option<Pages> {
        Kernel::allocate(size)
    }

    fn accept(&mut self, listener: &Listener) -> io::Result<(Socket, SocketAddr)> {
        if !self.is(Fault::AcceptWithoutLimit) {
            return self.kernel.accept(listener);
        }
        while self.accepted.back().is_none_or(|last| last.is_ok()) {
            self.accepted.push_back(self.kernel.accept(listener));
        }
        self.accepted.pop_front().unwrap()
    }

    fn set_up(&mut self, socket: &Socket) -> io::Result<()> {
        self.kernel.set_up(socket)
    }

    fn is_waiting(&mut self, listener: &Listener) -> io::Result<bool> {
        self.kernel.is_waiting(listener)
    }

    fn peek(&mut self, socket: &Socket) -> io::Result<usize> {
        self.kernel.peek(socket)
    }

    fn receive(&mut self, socket: &Socket, space: &mut [u8]) -> io::Result<usize> {
        if self.is(Fault::ClosedAtFlag) && self.flagged.contains(&socket.link) {
            return Ok(0);
        }
        match self.kernel.receive(socket, space) {
            Err(error) if self.is(Fault::ClosedWhenEmpty) && error.kind() == ErrorKind::WouldBlock => {
                Err(ErrorKind::ConnectionReset.into())
            }
            result => result,
        }
    }

    fn send(&mut self, socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.kernel.send(socket, bytes)?;
        Ok(if self.is(Fault::ShortWriteIgnored) { bytes.len() } else { sent })
    }

    fn shut_down(&mut self, socket: &Socket) -> io::Result<()> {
        self.kernel.shut_down(socket)
    }

    fn close(&mut self, socket: Socket) {
        if self.armed.remove(&socket.link) {
            // The descriptor's close takes it out of the queue.
            let _ = self.kernel.unwatch(&mut Queue, Watch::Write(&socket));
        }
        self.kernel.close(socket);
    }

    fn close_listener(&mut self, listener: Listener) {
        if self.unwatched.remove(&listener.port) {
            let _ = self.kernel.unwatch(&mut Queue, Watch::Accept(&listener));
        }
        self.kernel.close_listener(listener);
    }

    fn message(&mut self, peer: SocketAddr, payload: &[u8]) {
        self.kernel.message(peer, payload);
    }
}
