//! The calls that the loop makes, and what they must not be made for.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use parrot_server::CloseReason;
use parrot_server::simulation::{Event, Host, Pages, Target, Watch};

use crate::attempts::{FIRST_PORT, error};
use crate::check::Promise;
use crate::coverage::Point;
use crate::host::{PlantedFault, SimulatedHost, note};
use crate::link::{SetUp, Stage};
use crate::memory::Memory;
use crate::plan::MICROSECOND;
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

impl Host for SimulatedHost {
    type Listener = Listener;
    type Socket = Socket;

    fn now(&mut self) -> Instant {
        if std::mem::take(&mut self.awoken) {
            self.turn_time_before = std::mem::replace(&mut self.turn_time, self.time);
        }
        self.instant()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.wait_for_events(timeout)
    }

    fn next_event(&mut self) -> Option<Event> {
        self.deliver_event()
    }

    fn watch(&mut self, what: Watch<'_, Self>, target: Target) -> io::Result<()> {
        let by_close = self.last_call_closed;
        self.enter()?;
        match what {
            Watch::Accept(listener) => {
                // All listeners are watched again for the same reason.
                self.last_call_closed = by_close;
                if self.tally.turns > 0 && self.fault(Point::WatchAcceptFails) {
                    self.ports[listener.port].paused = Some(self.turn_time);
                    self.closed_since_pause = false;
                    return error(self.dice.pick([Errno::ENOMEM, Errno::EINTR]));
                }
                let port = &mut self.ports[listener.port];
                port.watch = Some(target);
                if port.paused.take().is_some() {
                    self.coverage.count(if by_close { Point::ResumedByClose } else { Point::ResumedByTime });
                }
            }
            Watch::Read(socket) => {
                let index = socket.link;
                self.tally.accepted += 1;
                if self.fault_of(index, Point::WatchReadFails) {
                    let link = &mut self.links[index];
                    let errno = link.call_dice.pick([Errno::ENOMEM, Errno::ENOSPC, Errno::EINTR]);
                    link.ended.get_or_insert(CloseReason::Failed);
                    return error(errno);
                }
                self.count_slot(target);
                let link = &mut self.links[index];
                link.watch_read = Some(target);
                link.target = Some(target);
                link.edge = link.readable();
                if self.drain_deadline.is_some() {
                    // A drain looks at every connection without an event.
                    link.hinted = true;
                    link.read_on = true;
                }
            }
            Watch::Write(socket) => {
                let index = socket.link;
                if self.fault_of(index, Point::WatchWriteFails) {
                    let link = &mut self.links[index];
                    link.ended.get_or_insert(CloseReason::Failed);
                    return error(link.call_dice.pick([Errno::ENOMEM, Errno::EINTR]));
                }
                self.links[index].watch_write = Some(target);
                note!(self, "  connection {index}: waits for room");
            }
        }
        Ok(())
    }

    fn unwatch(&mut self, what: Watch<'_, Self>) -> io::Result<()> {
        if let Watch::Write(socket) = what
            && self.planted == Some(PlantedFault::KeepsWriteInterest)
            && self.links[socket.link].watch_read.is_some()
        {
            return Ok(());
        }
        self.enter()?;
        // A failure says that the queue has no such registration, so it is gone all the same.
        let (was, fault) = match what {
            Watch::Accept(listener) => {
                let draining = self.drain_deadline.is_some();
                let port = &mut self.ports[listener.port];
                let was = port.watch.take();
                let port = &self.ports[listener.port];
                if !draining && port.paused != Some(self.turn_time) {
                    self.broken(Promise::Fair, || "a listener is not watched any more for no reason".to_owned());
                } else if !draining {
                    self.coverage.count(Point::AcceptPaused);
                }
                (was, self.fault(Point::UnwatchAcceptFails))
            }
            Watch::Read(socket) => {
                let index = socket.link;
                (self.links[index].watch_read.take(), self.fault_of(index, Point::UnwatchReadFails))
            }
            Watch::Write(socket) => {
                let index = socket.link;
                let was = self.links[index].watch_write.take();
                let fails = self.fault_of(index, Point::UnwatchWriteFails);
                let link = &mut self.links[index];
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
            Some(_) => error(self.dice.pick([Errno::ENOENT, Errno::EINTR])),
            None => error(Errno::ENOENT),
        }
    }

    fn allocate(size: usize) -> Option<Pages> {
        Memory::allocate(size)
    }

    fn accept(&mut self, listener: &Listener) -> io::Result<(Socket, SocketAddr)> {
        self.enter()?;
        self.check_accept_pause();
        let port = &self.ports[listener.port];
        if port.event_turn != self.tally.turns && self.drain_deadline.is_none() {
            self.broken(Promise::Provoked, || "accept without an event".to_owned());
        }
        self.count_accept(listener.port);
        self.ports[listener.port].seen_empty = false;
        self.try_accept(listener.port)
    }

    fn set_up(&mut self, socket: &Socket) -> io::Result<()> {
        self.enter()?;
        let index = socket.link;
        let served = self.served();
        if self.plan.limits.max_connections.is_some_and(|max| served >= max) {
            self.broken(Promise::Limit, || format!("{served} connections, and one more"));
        }
        let fails = self.fault_of(index, Point::SetUpFails);
        let link = &mut self.links[index];
        let gone = link.broken && self.plan.profile == Profile::Kqueue && link.call_dice.chance(64);
        if fails || gone {
            link.set_up = SetUp::Failed;
            let errno = [Errno::EINVAL, Errno::ECONNRESET, Errno::ENOBUFS, Errno::ENOMEM, Errno::EINTR, Errno::EIO];
            return error(if fails { link.call_dice.pick(errno) } else { Errno::EINVAL });
        }
        self.links[index].set_up = SetUp::Done;
        Ok(())
    }

    fn has_backlog(&mut self, listener: &Listener) -> io::Result<bool> {
        self.enter()?;
        if self.drain_deadline.is_none() {
            self.broken(Promise::Provoked, || "the backlog is asked for without a drain".to_owned());
        }
        if self.fault(Point::HasBacklogFails) {
            return error(self.dice.pick([Errno::EINTR, Errno::ENOMEM]));
        }
        let port = &mut self.ports[listener.port];
        port.seen_empty = port.backlog.is_empty();
        Ok(!port.seen_empty)
    }

    fn peek(&mut self, socket: &Socket) -> io::Result<usize> {
        let index = socket.link;
        // Of one that nothing was heard of for long the loop asks whether it has something that it could not tell.
        let idle = self.is_idle(&self.links[index]) && !self.links[index].hinted;
        self.settle_refused(!idle);
        self.enter_for(index)?;
        self.end_memory_pause(index);
        self.excuse_if_idle(index);
        let (turn, draining) = (self.tally.turns, self.drain_deadline.is_some());
        let link = &mut self.links[index];
        link.looked_in = turn;
        if !idle && !(link.hinted && (link.read_on || draining)) {
            self.broken(Promise::Provoked, || format!("connection {index}: peek without a reason"));
        }
        let result = self.try_peek(index);
        self.settle_peek(matches!(result, Ok(1)));
        if idle {
            self.settle_idle_peek(index, &result);
        }
        note!(self, "connection {index}: peek -> {result:?}");
        result
    }

    fn receive(&mut self, socket: &Socket, space: &mut [u8]) -> io::Result<usize> {
        let index = socket.link;
        self.enter_for(index)?;
        self.end_memory_pause(index);
        self.excuse_if_idle(index);
        let link = &mut self.links[index];
        link.in_line_since = None;
        if !link.hinted || space.is_empty() {
            let what = if space.is_empty() { "into no space" } else { "without an event" };
            self.broken(Promise::Provoked, || format!("connection {index}: receive {what}"));
        }
        let mut result = self.try_receive(index, space);
        if matches!(&result, Err(error) if error.kind() == ErrorKind::WouldBlock) {
            self.links[index].emptied(self.drain_deadline.is_some());
            if self.planted == Some(PlantedFault::ClosesWhenEmpty) {
                result = Err(ErrorKind::ConnectionReset.into());
            }
        }
        note!(self, "connection {index}: receive into {} -> {result:?}", space.len());
        result
    }

    fn send(&mut self, socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
        let index = socket.link;
        self.enter_for(index)?;
        self.end_memory_pause(index);
        let link = &mut self.links[index];
        link.tried_in = self.tally.turns;
        let owed = link.owed();
        if link.shut || bytes.is_empty() || bytes.len() as u64 > owed {
            self.broken(Promise::Bytes, || format!("connection {index}: send of {} with {owed} owed", bytes.len()));
            return error(Errno::EPIPE);
        }
        // Before it is closed as idle, a peer may be tried.
        let idle = self.is_idle(&self.links[index]);
        let tried = self.links[index].blocked && idle;
        if self.links[index].blocked && !idle {
            self.broken(Promise::Provoked, || format!("connection {index}: send without an event for room"));
        }
        let mut result = self.try_send(index, bytes);
        if self.planted == Some(PlantedFault::IgnoresShortSends) && result.is_ok() {
            result = Ok(bytes.len());
        }
        if tried {
            self.coverage.count(if result.is_ok() { Point::KeptByTry } else { Point::TriedInVain });
        }
        note!(self, "connection {index}: send of {} -> {result:?}", bytes.len());
        result
    }

    fn shut_down(&mut self, socket: &Socket) -> io::Result<()> {
        let index = socket.link;
        self.enter_for(index)?;
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
        let gone = self.links[index].broken && self.links[index].call_dice.chance(128);
        if self.fault_of(index, Point::ShutDownFails) || gone {
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
        // One that was refused, or could not be set up, had its descriptor for a moment.
        self.closed_since_pause |= self.links[socket.link].target.is_some();
        self.check_close(socket.link);
        self.last_call_closed = true;
        self.last_pause = None;
    }

    fn close_listener(&mut self, listener: Listener) {
        let _ = self.enter();
        let port = &mut self.ports[listener.port];
        port.closed = true;
        let (watched, seen_empty) = (port.watch.is_some(), port.seen_empty);
        let backlog = std::mem::take(&mut port.backlog);
        let late = self.drain_deadline.is_some_and(|due| due <= self.turn_time);
        if !backlog.is_empty() {
            self.coverage.count(if late { Point::DrainResetsBacklog } else { Point::ComesTooLate });
            if !late && !seen_empty {
                self.broken(Promise::Drain, || format!("{} connections are reset in the backlog", backlog.len()));
            }
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
        // The hand-over to the log never waits, but it may take a while, and meanwhile the peers go on.
        if self.plan.log_time > 0 {
            let took = self.dice.below(self.plan.log_time);
            self.time += took;
            self.run_due();
            if took > MICROSECOND {
                self.coverage.count(Point::LogSlow);
            }
        }
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
