//! The calls that the loop makes: what each does to the simulated sockets, and what it must not be made for.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use parrot_kqueue::Token;
use parrot_server::CloseReason;
use parrot_server::system::{Event, System, Watch};

use crate::check::Promise;
use crate::coverage::Point;
use crate::kernel::{Kernel, note};
use crate::link::{SetUp, Stage};
use crate::plan::{MICROSECOND, MILLISECOND};
use crate::profile::Profile;
use crate::stream;

/// A connection's socket, as the loop holds it.
#[derive(Debug)]
pub struct Socket {
    /// The peer's number.
    pub link: usize,
}

/// A listening socket, as the loop holds it.
#[derive(Debug)]
pub struct Listener {
    /// Its place among the listeners.
    pub port: usize,
}

/// The event queue, as the loop holds it: all of it is in the [`Kernel`].
#[derive(Debug)]
pub struct Queue;

/// Peers are told apart by the port of their address.
const FIRST_PORT: usize = 10_000;
/// What the loop promises at most: accepts from one listener in a turn; bytes from one connection in one serving.
const ACCEPTS_PER_TURN: u64 = 64;
const BYTES_PER_SERVING: u64 = 128 * 1024;
const RECEIVES_PER_TURN: u32 = 64;
/// A connection is served on its event to read, on its event to write and as a leftover: that often in a turn, at most.
const SERVINGS_PER_TURN: u64 = 3;
/// So many calls in a turn are a loop in the loop.
const ENDLESS_CALLS: u32 = 1_000_000;
/// After a want of memory, calls again sooner than this would only be refused again.
const LEAST_PAUSE: u64 = MILLISECOND;

fn error<T>(errno: Errno) -> io::Result<T> {
    Err(errno.into())
}

/// Why a connection has ended that failed with this.
fn reason(errno: Errno) -> CloseReason {
    match errno {
        Errno::ECONNRESET
        | Errno::EPIPE
        | Errno::ETIMEDOUT
        | Errno::EHOSTUNREACH
        | Errno::ENOTCONN
        | Errno::EPROTOTYPE => CloseReason::Reset,
        _ => CloseReason::Failed,
    }
}

impl Kernel {
    /// What every call begins with; an error ends a loop in the loop.
    fn enter(&mut self) -> io::Result<()> {
        self.last_call_closed = false;
        self.calls_in_turn += 1;
        if self.calls_in_turn > ENDLESS_CALLS {
            self.broken(Promise::Work, || format!("more than {ENDLESS_CALLS} calls in a turn"));
            return error(Errno::EIO);
        }
        self.pass_time();
        Ok(())
    }

    /// The connection fails with this, and so has ended.
    fn fail<T>(&mut self, index: usize, errno: Errno) -> io::Result<T> {
        self.links[index].ended.get_or_insert(reason(errno));
        self.work += 1;
        note!(self, "  connection {index}: {errno}");
        error(errno)
    }

    /// The system lacks memory for the connection.
    fn starve<T>(&mut self, index: usize, errno: Errno) -> io::Result<T> {
        self.links[index].memory_short = Some(self.turn_time);
        self.tally.retries += 1;
        error(errno)
    }

    /// The connection is called again after such a want.
    fn end_memory_pause(&mut self, index: usize) {
        if let Some(since) = self.links[index].memory_short.take() {
            if self.turn_time < since + LEAST_PAUSE {
                self.broken(Promise::Busy, || format!("connection {index} is called again at once after ENOBUFS"));
            }
            self.coverage.count(Point::MemoryRetried);
        }
    }

    fn pop_backlog(&mut self, port: usize) -> Option<usize> {
        self.work += 1;
        self.ports[port].backlog.pop_front()
    }

    /// Accept takes a connection off the backlog and fails because of it.
    fn accept_loses<T>(&mut self, port: usize, failure: io::Error) -> io::Result<T> {
        if let Some(index) = self.pop_backlog(port) {
            self.links[index].stage = Stage::Lost;
        }
        self.tally.accept_failures += 1;
        note!(self, "accept: {failure}");
        Err(failure)
    }

    /// Accept fails for a reason that may last.
    fn accept_pauses<T>(&mut self, port: usize, errno: Errno) -> io::Result<T> {
        match errno {
            Errno::EIO => self.tally.accept_failures += 1,
            _ => self.tally.accept_pauses += 1,
        }
        note!(self, "accept: {errno}");
        // Without a descriptor for one listener there is none for the other: all of them pause.
        let _ = port;
        for port in &mut self.ports {
            port.paused = Some(self.turn_time);
        }
        error(errno)
    }

    fn try_accept(&mut self, port: usize) -> io::Result<(Socket, SocketAddr)> {
        if self.fault(Point::AcceptInterrupted) {
            self.tally.accept_failures += 1;
            return error(Errno::EINTR);
        }
        let Some(&index) = self.ports[port].backlog.front() else { return error(Errno::EAGAIN) };
        if self.fault(Point::AcceptEmpty) {
            return error(Errno::EAGAIN);
        }
        if self.open.len() >= self.plan.descriptors {
            self.coverage.count(Point::NoDescriptor);
            // XNU takes the connection off the queue before it finds that it has no descriptor for it.
            if self.plan.profile == Profile::Kqueue && self.dice.chance(64) {
                self.coverage.count(Point::NoDescriptorDrops);
                if let Some(index) = self.pop_backlog(port) {
                    self.links[index].stage = Stage::Lost;
                }
            }
            return self.accept_pauses(port, Errno::EMFILE);
        }
        for (fault, errno) in [
            (Point::AcceptTableFull, Errno::ENFILE),
            (Point::AcceptNoBuffers, Errno::ENOBUFS),
            (Point::AcceptNoMemory, Errno::ENOMEM),
            (Point::AcceptOther, Errno::EIO),
        ] {
            if self.fault(fault) {
                return self.accept_pauses(port, errno);
            }
        }
        if self.fault(Point::AcceptNetwork) {
            let errno =
                self.dice.pick([Errno::EPROTO, Errno::ENETDOWN, Errno::EHOSTUNREACH, Errno::ETIMEDOUT, Errno::EPERM]);
            return self.accept_loses(port, errno.into());
        }
        let gone = self.links[index].broken && self.dice.chance(128);
        if self.fault(Point::AcceptAborted) || gone {
            return self.accept_loses(port, Errno::ECONNABORTED.into());
        }
        // macOS accepts a connection that is gone with an address of no length, which std has no kind of address for.
        if self.fault(Point::AcceptNoAddress) {
            return self.accept_loses(port, io::Error::new(ErrorKind::InvalidInput, "invalid argument"));
        }
        self.pop_backlog(port);
        self.ports[port].accepts_in_turn += 1;
        let link = &mut self.links[index];
        link.stage = Stage::Open;
        link.active = self.turn_time;
        self.open.push(index);
        if self.drain_deadline.is_some() {
            self.coverage.count(Point::DrainAccepts);
        }
        note!(self, "accept: connection {index}");
        Ok((Socket { link: index }, SocketAddr::from(([127, 0, 0, 1], (FIRST_PORT + index) as u16))))
    }

    /// What a receive that may be made finds.
    fn try_receive(&mut self, index: usize, space: &mut [u8]) -> io::Result<usize> {
        if self.fault(Point::ReceiveInterrupted) {
            return error(Errno::EINTR);
        }
        if self.fault(Point::ReceiveNoMemory) {
            let errno = self.dice.pick([Errno::ENOBUFS, Errno::ENOMEM]);
            return self.starve(index, errno);
        }
        if self.fault(Point::ReceiveFails) {
            return self.fail(index, Errno::EIO);
        }
        let waiting = self.links[index].waiting();
        if waiting > 0 && self.fault(Point::ReceiveEmpty) {
            // The bytes come right after the call: with an event of their own.
            self.links[index].edge = true;
            return error(Errno::EAGAIN);
        }
        if waiting > 0 {
            return Ok(self.take_bytes(index, space));
        }
        if let Some(errno) = self.links[index].error.take() {
            self.coverage.count(if errno == Errno::ECONNRESET { Point::ReceiveReset } else { Point::ReceiveTimedOut });
            return self.fail(index, errno);
        }
        let link = &mut self.links[index];
        if link.broken || link.peer_ended {
            link.hinted = false;
            link.end_received = true;
            if link.shut {
                link.ended.get_or_insert(CloseReason::Drained);
            }
            self.work += 1;
            return Ok(0);
        }
        error(Errno::EAGAIN)
    }

    fn take_bytes(&mut self, index: usize, space: &mut [u8]) -> usize {
        let mut n = self.links[index].waiting().min(space.len() as u64);
        let link = &self.links[index];
        if let Some(mark) = link.urgent
            && (link.received + 1..link.received + n).contains(&mark)
        {
            n = mark - link.received;
            self.coverage.count(Point::UrgentStop);
        } else if n > 1 && self.fault(Point::ReceiveShort) {
            // The others come right after the call: with an event of their own.
            n = 1 + self.dice.below(n - 1);
            self.links[index].edge = true;
        }
        let link = &mut self.links[index];
        stream::fill(index, link.received, &mut space[..n as usize]);
        link.received += n;
        link.urgent = link.urgent.filter(|mark| *mark >= link.received);
        link.active = self.turn_time;
        link.message = Some(n);
        link.unread = link.unread.saturating_sub(n);
        link.seen_empty = false;
        if n < space.len() as u64 && !link.read_on && link.unread == 0 {
            link.emptied(self.drain_deadline.is_some());
        }
        self.tally.messages += 1;
        self.tally.bytes_in += n;
        self.work += 1;
        if link.shut {
            self.tally.bytes_discarded += n;
            self.coverage.count(Point::DrainDiscards);
        } else {
            link.filled += n;
            let (filled, most) = (link.filled, self.plan.config.max_output as u64);
            if filled > most {
                self.broken(Promise::Memory, || {
                    format!("connection {index} has {filled} bytes of {most} in its buffer")
                });
            }
            self.count_work(index, n);
        }
        self.wake_writer(index);
        n as usize
    }

    /// Checks a connection's share of the turn.
    fn count_work(&mut self, index: usize, n: u64) {
        let turn = self.tally.turns;
        let most = SERVINGS_PER_TURN * (BYTES_PER_SERVING + self.plan.config.max_output as u64);
        let link = &mut self.links[index];
        if link.turn != turn {
            (link.turn, link.receives, link.bytes_in_turn) = (turn, 0, 0);
        }
        link.receives += 1;
        link.bytes_in_turn += n;
        if link.receives == RECEIVES_PER_TURN {
            self.coverage.count(Point::ReceiveShareUsed);
        }
        let (receives, bytes) = (link.receives, link.bytes_in_turn);
        if u64::from(receives) > SERVINGS_PER_TURN * u64::from(RECEIVES_PER_TURN) || bytes > most {
            self.broken(Promise::Work, || {
                format!("connection {index}: {receives} receives of {bytes} bytes in a turn")
            });
        }
    }

    fn try_send(&mut self, index: usize, bytes: &[u8]) -> io::Result<usize> {
        if self.fault(Point::SendInterrupted) {
            return error(Errno::EINTR);
        }
        for (fault, errno) in [(Point::SendNoBuffers, Errno::ENOBUFS), (Point::SendNoMemory, Errno::ENOMEM)] {
            if self.fault(fault) {
                return self.starve(index, errno);
            }
        }
        for (fault, errno) in [(Point::SendPrototype, Errno::EPROTOTYPE), (Point::SendFails, Errno::EIO)] {
            if self.fault(fault) {
                return self.fail(index, errno);
            }
        }
        if self.links[index].broken {
            let told = self.links[index].error.take();
            let errno = told.filter(|_| self.dice.chance(128)).unwrap_or(Errno::EPIPE);
            self.coverage.count(if errno == Errno::EPIPE { Point::SendBrokenPipe } else { Point::SendReset });
            return self.fail(index, errno);
        }
        let link = &mut self.links[index];
        let mut n = link.room().min(bytes.len() as u64);
        if n == 0 || self.fault(Point::SendFull) {
            self.links[index].blocked = true;
            return error(Errno::EAGAIN);
        }
        if n > 1 && self.fault(Point::SendShort) {
            n = 1 + self.dice.below(n - 1);
        }
        let link = &mut self.links[index];
        let (from, taken) = (link.sent, &bytes[..n as usize]);
        link.sent += n;
        link.active = self.turn_time;
        link.blocked = n < bytes.len() as u64;
        if link.blocked {
            self.coverage.count(Point::SocketFilled);
        }
        if link.sent == link.received {
            link.filled = 0;
            self.buffers_returned += 1;
        }
        if link.peer_closed && !link.broken {
            self.schedule(5 * MICROSECOND, crate::kernel::Action::Reset(index));
        }
        if !stream::matches(index, from, taken) {
            self.broken(Promise::Bytes, || format!("connection {index} was sent other bytes than its own at {from}"));
        }
        self.tally.bytes_out += n;
        self.work += 1;
        if self.drain_deadline.is_some() {
            self.coverage.count(Point::DrainEchoes);
        }
        self.wake_reader(index);
        Ok(n as usize)
    }
}

impl System for Kernel {
    type Listener = Listener;
    type Socket = Socket;
    type Queue = Queue;

    fn now(&mut self) -> Instant {
        self.turn_time = self.time;
        self.instant()
    }

    fn wait(&mut self, _queue: &mut Queue, timeout: Option<Duration>) -> io::Result<()> {
        self.wait_for_events(timeout)
    }

    fn next_event(&mut self, _queue: &mut Queue) -> Option<Event> {
        self.deliver_event()
    }

    fn watch(&mut self, _queue: &mut Queue, what: Watch<'_, Self>, token: Token) -> io::Result<()> {
        let by_close = self.last_call_closed;
        self.enter()?;
        match what {
            Watch::Accept(listener) => {
                if self.tally.turns > 0 && self.fault(Point::WatchAcceptFails) {
                    self.ports[listener.port].paused = Some(self.turn_time);
                    return error(Errno::ENOMEM);
                }
                let port = &mut self.ports[listener.port];
                port.watch = Some(token);
                if port.paused.take().is_some() {
                    self.coverage.count(if by_close { Point::ResumedByClose } else { Point::ResumedByTime });
                }
            }
            Watch::Read(socket) => {
                let index = socket.link;
                self.tally.accepted += 1;
                if self.fault(Point::WatchReadFails) {
                    let errno = self.dice.pick([Errno::ENOMEM, Errno::ENOSPC]);
                    self.links[index].ended.get_or_insert(CloseReason::Failed);
                    return error(errno);
                }
                self.count_slot(token);
                let link = &mut self.links[index];
                link.watch_read = Some(token);
                link.token = Some(token);
                link.edge = link.readable();
                if self.drain_deadline.is_some() {
                    // A drain looks at every connection without an event.
                    link.hinted = true;
                }
            }
            Watch::Write(socket) => {
                let index = socket.link;
                if self.fault(Point::WatchWriteFails) {
                    self.links[index].ended.get_or_insert(CloseReason::Failed);
                    return error(Errno::ENOMEM);
                }
                self.links[index].watch_write = Some(token);
                note!(self, "  connection {index}: waits for room");
            }
        }
        Ok(())
    }

    fn unwatch(&mut self, _queue: &mut Queue, what: Watch<'_, Self>) -> io::Result<()> {
        self.enter()?;
        // A failure says that the queue has no such wish: then it is gone all the same.
        let (was, fault) = match what {
            Watch::Accept(listener) => {
                let draining = self.drain_deadline.is_some();
                let port = &mut self.ports[listener.port];
                let was = port.watch.take();
                // A back-off is work: it cannot follow itself.
                self.work += u64::from(was.is_some());
                let port = &self.ports[listener.port];
                if !draining && port.paused != Some(self.turn_time) {
                    self.broken(Promise::Fair, || "a listener is not watched any more for no reason".to_owned());
                } else if !draining {
                    self.coverage.count(Point::AcceptPaused);
                }
                (was, self.fault(Point::UnwatchAcceptFails))
            }
            Watch::Read(socket) => (self.links[socket.link].watch_read.take(), self.fault(Point::UnwatchReadFails)),
            Watch::Write(socket) => {
                let was = self.links[socket.link].watch_write.take();
                let fails = self.fault(Point::UnwatchWriteFails);
                let link = &mut self.links[socket.link];
                // Not when it is being closed already: the wish to read is taken back first.
                if fails && link.watch_read.is_some() {
                    link.ended.get_or_insert(CloseReason::Failed);
                    // Its end comes before the retry that was due.
                    self.tally.retries -= u64::from(link.memory_short == Some(self.turn_time));
                }
                (was, fails)
            }
        };
        match was {
            Some(_) if !fault => Ok(()),
            _ => error(Errno::ENOENT),
        }
    }

    fn accept(&mut self, listener: &Listener) -> io::Result<(Socket, SocketAddr)> {
        self.enter()?;
        let accepted = self.try_accept(listener.port);
        let accepts = self.ports[listener.port].accepts_in_turn;
        if accepts == ACCEPTS_PER_TURN {
            self.coverage.count(Point::AcceptShareUsed);
        }
        // On its event, and once more in a drain.
        let most = if self.drain_deadline.is_some() { 2 * ACCEPTS_PER_TURN } else { ACCEPTS_PER_TURN };
        if accepts > most {
            self.broken(Promise::Work, || format!("{accepts} connections accepted in a turn"));
        }
        accepted
    }

    fn set_up(&mut self, socket: &Socket) -> io::Result<()> {
        self.enter()?;
        let index = socket.link;
        let served = self.served();
        if self.plan.config.max_connections.is_some_and(|max| served >= max) {
            self.broken(Promise::Limit, || format!("{served} connections, and one more"));
        }
        let gone = self.links[index].broken && self.plan.profile == Profile::Kqueue && self.dice.chance(64);
        if self.fault(Point::SetUpFails) || gone {
            self.links[index].set_up = SetUp::Failed;
            return error(Errno::EINVAL);
        }
        self.links[index].set_up = SetUp::Done;
        Ok(())
    }

    fn is_waiting(&mut self, listener: &Listener) -> io::Result<bool> {
        self.enter()?;
        Ok(!self.ports[listener.port].backlog.is_empty())
    }

    fn peek(&mut self, socket: &Socket) -> io::Result<usize> {
        self.enter()?;
        let index = socket.link;
        self.end_memory_pause(index);
        let draining = self.drain_deadline.is_some();
        if let Some(errno) = self.links[index].error.take() {
            return self.fail(index, errno);
        }
        let link = &mut self.links[index];
        link.unserved_turns = 0;
        if link.waiting() > 0 {
            return Ok(1);
        }
        if link.broken || link.peer_ended {
            link.hinted = false;
            link.end_received = true;
            if link.shut {
                link.ended.get_or_insert(CloseReason::Drained);
            }
            self.work += 1;
            return Ok(0);
        }
        link.emptied(draining);
        error(Errno::EAGAIN)
    }

    fn receive(&mut self, socket: &Socket, space: &mut [u8]) -> io::Result<usize> {
        self.enter()?;
        let index = socket.link;
        self.end_memory_pause(index);
        let link = &mut self.links[index];
        link.unserved_turns = 0;
        link.in_line_since = None;
        if !link.hinted || space.is_empty() {
            let what = if space.is_empty() { "into no space" } else { "without an event" };
            self.broken(Promise::Provoked, || format!("connection {index}: receive {what}"));
        }
        let result = self.try_receive(index, space);
        if matches!(&result, Err(error) if error.kind() == ErrorKind::WouldBlock) {
            self.links[index].emptied(self.drain_deadline.is_some());
        }
        note!(self, "connection {index}: receive into {} -> {result:?}", space.len());
        result
    }

    fn send(&mut self, socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
        self.enter()?;
        let index = socket.link;
        self.end_memory_pause(index);
        let link = &mut self.links[index];
        link.unserved_turns = 0;
        let owed = link.owed();
        if link.shut || bytes.is_empty() || bytes.len() as u64 > owed {
            self.broken(Promise::Bytes, || format!("connection {index}: send of {} with {owed} owed", bytes.len()));
            return error(Errno::EPIPE);
        }
        // Before it is closed as idle, a peer may be tried.
        let idle = self.idle_due(&self.links[index]).is_some_and(|due| due <= self.turn_time);
        if self.links[index].blocked && !idle {
            self.broken(Promise::Provoked, || format!("connection {index}: send without an event for room"));
        }
        let result = self.try_send(index, bytes);
        note!(self, "connection {index}: send of {} -> {result:?}", bytes.len());
        result
    }

    fn shut_down(&mut self, socket: &Socket) -> io::Result<()> {
        self.enter()?;
        let index = socket.link;
        note!(self, "connection {index}: shut down");
        let draining = self.drain_deadline.is_some();
        let link = &mut self.links[index];
        let owed = link.owed();
        let done = link.end_received || (draining && link.seen_empty);
        if link.shut || owed > 0 || !done {
            let shut = link.shut;
            let seen_empty = link.seen_empty;
            self.broken(Promise::ShutDown, || {
                format!(
                    "connection {index} shut down with {owed} owed (already: {shut}, input seen empty: {seen_empty})"
                )
            });
        }
        let gone = self.links[index].broken && self.dice.chance(128);
        if self.fault(Point::ShutDownFails) || gone {
            return self.fail(index, Errno::ENOTCONN);
        }
        let link = &mut self.links[index];
        link.shut = true;
        if link.end_received {
            link.ended.get_or_insert(CloseReason::PeerFinished);
        } else {
            self.coverage.count(Point::DrainShutsDown);
        }
        self.work += 1;
        self.wake_reader(index);
        Ok(())
    }

    fn close(&mut self, socket: Socket) {
        let _ = self.enter();
        self.check_close(socket.link);
        self.last_call_closed = true;
    }

    fn close_listener(&mut self, listener: Listener) {
        let _ = self.enter();
        let port = &mut self.ports[listener.port];
        port.open = false;
        let (watched, backlog) = (port.watch.is_some(), std::mem::take(&mut port.backlog));
        if !backlog.is_empty() {
            self.coverage.count(Point::DrainResetsBacklog);
        }
        for index in backlog {
            self.links[index].stage = Stage::Lost;
        }
        if watched {
            self.broken(Promise::Descriptors, || "a listener is closed while it is watched".to_owned());
        }
        if self.drain_deadline.is_none() {
            self.broken(Promise::Fair, || "a listener is closed without a drain".to_owned());
        }
        self.work += 1;
        note!(self, "listener {} closed", listener.port);
    }

    fn message(&mut self, peer: SocketAddr, payload: &[u8]) {
        self.log();
        let index = usize::from(peer.port()).wrapping_sub(FIRST_PORT);
        let Some(link) = self.links.get_mut(index) else {
            return self.broken(Promise::Log, || format!("a message of {peer}, whom nobody knows"));
        };
        let length = link.message.take();
        let from = link.received.saturating_sub(payload.len() as u64);
        if length != Some(payload.len() as u64) || !stream::matches(index, from, payload) {
            self.broken(Promise::Log, || {
                format!("connection {index}: the log is told {} bytes after a receive of {length:?}", payload.len())
            });
        }
    }
}
