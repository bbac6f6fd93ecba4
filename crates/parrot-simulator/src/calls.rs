//! The calls that the loop makes, and what they must not be made for.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use parrot_kqueue::Token;
use parrot_server::CloseReason;
use parrot_server::system::{Event, System, Watch};

use crate::attempts::{FIRST_PORT, error};
use crate::check::Promise;
use crate::coverage::Point;
use crate::kernel::{Kernel, note};
use crate::link::{SetUp, Stage};
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

/// The most that the loop accepts from one listener in a turn.
const ACCEPTS_PER_TURN: u64 = 64;

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
