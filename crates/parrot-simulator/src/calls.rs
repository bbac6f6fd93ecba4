//! The calls that the loop makes, and the checks of whether it may make them.

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use parrot_server::simulation::{Event, Host, Pages, Target, Watch};
use parrot_server::{CloseReason, Peer};
use parrot_udp::{Batch, Replied};

use crate::attempts::error;
use crate::check::Promise;
use crate::connection::{SetUp, Socket};
use crate::coverage::Point;
use crate::datagrams::DatagramSocket;
use crate::host::{PlantedFault, SimulatedHost, note};
use crate::listeners::{Listener, server_address};
use crate::memory::Memory;
use crate::profile::Profile;
use crate::stream;
use crate::time::MICROSECOND;

impl Host for SimulatedHost {
    type Listener = Listener;
    type Socket = Socket;
    type DatagramSocket = DatagramSocket;
    // It spreads the networks that the senders are in over different buckets, so they share no bound.
    type Hasher = BuildHasherDefault<DefaultHasher>;

    fn now(&mut self) -> Instant {
        if std::mem::take(&mut self.awoken) {
            self.turn_time_before = std::mem::replace(&mut self.turn_time, self.time);
            self.end_delay();
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
            Watch::Datagrams(socket) => return self.watch_datagrams(socket.index, target),
            Watch::Accept(listener) => {
                // A close before the first of these calls is the reason for all of them.
                self.last_call_closed = by_close;
                if self.tally.turns > 0 && self.fault(Point::WatchAcceptFails) {
                    self.ports[listener.port].paused = Some(self.turn_time);
                    // The loop may not try those that were added with it.
                    let added = self.ports.iter_mut().filter(|port| port.slot.is_some() && port.watch.is_none());
                    added.for_each(|port| port.paused = port.paused.or(Some(self.turn_time)));
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
                let index = socket.connection;
                let is_retry = self.connections[index].memory_short.is_some();
                self.tally.accepted += u64::from(!is_retry);
                if !is_retry {
                    self.connections[index].number = self.tally.accepted;
                    self.begin_header_wait(index);
                }
                self.end_memory_pause(index);
                if self.fault_of(index, Point::WatchReadFails) {
                    return self.fail_watch(index);
                }
                self.count_slot(target);
                let greets = self.owes_greeting(&self.connections[index]);
                let connection = &mut self.connections[index];
                connection.watch_read = Some(target);
                connection.target = Some(target);
                connection.edge = connection.readable();
                if self.drain_deadline.is_some() || greets {
                    // A drain looks at every connection, without an event, and a greeting is sent without one.
                    connection.hinted = true;
                    connection.read_on = true;
                }
            }
            Watch::Write(socket) => {
                let index = socket.connection;
                if self.fault_of(index, Point::WatchWriteFails) {
                    return self.fail_watch(index);
                }
                self.connections[index].watch_write = Some(target);
                note!(self, "  connection {index}: waits for room");
            }
        }
        Ok(())
    }

    fn unwatch(&mut self, what: Watch<'_, Self>) -> io::Result<()> {
        if let Watch::Write(socket) = what
            && self.planted == Some(PlantedFault::KeepsWriteInterest)
            && self.connections[socket.connection].watch_read.is_some()
        {
            return Ok(());
        }
        self.enter()?;
        // A failure says that the queue has no such registration, so it is removed all the same.
        let (was, fault) = match what {
            Watch::Datagrams(socket) => self.unwatch_datagrams(socket.index),
            Watch::Accept(listener) => {
                let draining = self.drain_deadline.is_some();
                let port = &mut self.ports[listener.port];
                let was = port.watch.take();
                let port = &self.ports[listener.port];
                let ends = draining || port.closes_by.is_some();
                if !ends && port.paused != Some(self.turn_time) {
                    self.broken(Promise::Fair, || "a listener is unwatched without a reason".to_owned());
                } else if !ends {
                    self.coverage.count(Point::AcceptPaused);
                }
                (was, self.fault(Point::UnwatchAcceptFails))
            }
            Watch::Read(socket) => {
                let index = socket.connection;
                (self.connections[index].watch_read.take(), self.fault_of(index, Point::UnwatchReadFails))
            }
            Watch::Write(socket) => {
                let index = socket.connection;
                let was = self.connections[index].watch_write.take();
                // Faults may leave room unused, and the event for it has done its work when the watch ends.
                self.work += u64::from(was.is_some() && !self.connections[index].faults.is_empty());
                let fails = self.fault_of(index, Point::UnwatchWriteFails);
                let connection = &mut self.connections[index];
                // If the connection is being closed, its read interest is gone and this failure changes nothing.
                if fails && connection.watch_read.is_some() {
                    connection.ended.get_or_insert(CloseReason::Failed);
                    // The connection ends before its retry.
                    self.tally.retries -= u64::from(connection.memory_short == Some(self.turn_time));
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

    fn accept(&mut self, listener: &Listener) -> io::Result<(Socket, Peer)> {
        self.enter()?;
        self.check_accept_pause();
        self.check_accept(listener.port);
        self.count_accept(listener.port);
        self.ports[listener.port].seen_empty = false;
        self.try_accept(listener.port)
    }

    fn set_up(&mut self, socket: &Socket, _: &Listener) -> io::Result<()> {
        self.enter()?;
        let index = socket.connection;
        let served = self.served();
        if self.plan.limits.max_connections.is_some_and(|max| served >= max) {
            self.broken(Promise::Limit, || format!("a connection is set up beside {served} others"));
        }
        if self.connections[index].stranger {
            self.broken(Promise::Header, || format!("connection {index} is set up, and may send no header"));
        }
        let fails = self.fault_of(index, Point::SetUpFails);
        let connection = &mut self.connections[index];
        let gone = connection.broken && self.plan.profile == Profile::Kqueue && connection.call_dice.chance(64);
        if fails || gone {
            connection.set_up = SetUp::Failed;
            let errno = [Errno::EINVAL, Errno::ECONNRESET, Errno::ENOBUFS, Errno::ENOMEM, Errno::EINTR, Errno::EIO];
            return error(if fails { connection.call_dice.pick(errno) } else { Errno::EINVAL });
        }
        self.connections[index].set_up = SetUp::Done;
        Ok(())
    }

    fn local_address(&mut self, socket: &Socket) -> io::Result<SocketAddr> {
        self.enter()?;
        let index = socket.connection;
        if self.fault_of(index, Point::LocalAddressFails) {
            return error(self.connections[index].call_dice.pick([Errno::ENOBUFS, Errno::ECONNRESET]));
        }
        let local = server_address(self.connections[index].port);
        self.connections[index].local = Some(local);
        Ok(local)
    }

    fn has_backlog(&mut self, listener: &Listener) -> io::Result<bool> {
        self.enter()?;
        let port = &self.ports[listener.port];
        if self.drain_deadline.is_none() && port.closes_by.is_none() {
            self.broken(Promise::Provoked, || "the backlog is looked at without a reason".to_owned());
        }
        if self.fault(Point::HasBacklogFails) {
            self.ports[listener.port].pause_turn = self.tally.turns;
            return error(self.dice.pick([Errno::EINTR, Errno::ENOMEM]));
        }
        let port = &mut self.ports[listener.port];
        port.seen_empty = port.backlog.is_empty();
        Ok(!port.seen_empty)
    }

    fn peek(&mut self, socket: &Socket, space: &mut [u8]) -> io::Result<usize> {
        let index = socket.connection;
        self.hint_at_late_header(index);
        // The loop also peeks at an idle connection, whose input may not have been reported.
        let idle = self.is_idle(&self.connections[index]) && !self.connections[index].hinted;
        let header = self.connections[index].awaits_header();
        self.settle_refused(!idle && !header);
        self.enter_for(index)?;
        self.end_memory_pause(index);
        self.excuse_if_idle(index);
        let (turn, draining) = (self.tally.turns, self.drain_deadline.is_some());
        let connection = &mut self.connections[index];
        connection.looked_in = turn;
        let reads_on = connection.read_on || connection.may_read_on || draining || header;
        // A stalled connection is only looked at, so that a peer that has gone is found.
        let looks = !connection.faults.is_empty() && connection.watch_read.is_some();
        if !idle && !looks && !((connection.hinted || connection.may_read_on) && reads_on) {
            self.broken(Promise::Provoked, || format!("connection {index}: peek without a reason"));
        }
        let result = self.try_peek(index, space);
        self.settle_peek(matches!(result, Ok(1..)));
        if idle {
            self.settle_idle_peek(index, &result);
        }
        note!(self, "connection {index}: peek -> {result:?}");
        result
    }

    fn receive(&mut self, socket: &Socket, space: &mut [u8]) -> io::Result<usize> {
        let index = socket.connection;
        self.enter_for(index)?;
        self.end_memory_pause(index);
        self.excuse_if_idle(index);
        let connection = &mut self.connections[index];
        connection.waiting_since = None;
        if !(connection.hinted || connection.may_read_on) || space.is_empty() {
            let what = if space.is_empty() { "into no space" } else { "without an event" };
            self.broken(Promise::Provoked, || format!("connection {index}: receive {what}"));
        }
        self.see_buffer(index, space.len());
        let mut result = self.try_receive(index, space);
        if matches!(&result, Err(error) if error.kind() == ErrorKind::WouldBlock) {
            self.connections[index].emptied(self.drain_deadline.is_some());
            if self.planted == Some(PlantedFault::ClosesWhenEmpty) {
                result = Err(ErrorKind::ConnectionReset.into());
            }
        }
        note!(self, "connection {index}: receive into {} -> {result:?}", space.len());
        result
    }

    fn send(&mut self, socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
        let index = socket.connection;
        self.enter_for(index)?;
        self.end_memory_pause(index);
        self.take_greeting(index, bytes.len() as u64);
        let connection = &mut self.connections[index];
        connection.tried_in = self.tally.turns;
        let owed = connection.owed();
        if connection.shut || bytes.is_empty() || bytes.len() as u64 > owed {
            self.broken(Promise::Bytes, || format!("connection {index}: send of {} with {owed} owed", bytes.len()));
            return error(Errno::EPIPE);
        }
        // The loop may try to send to a peer before it closes the connection as idle.
        let idle = self.is_idle(&self.connections[index]);
        let tried = self.connections[index].blocked && idle;
        if self.connections[index].blocked && !idle {
            self.broken(Promise::Provoked, || format!("connection {index}: send without an event for room"));
        }
        let mut result = self.try_send(index, bytes);
        if self.planted == Some(PlantedFault::IgnoresShortSends) && result.is_ok() {
            result = Ok(bytes.len());
        }
        self.count_take(index, bytes.len(), &result);
        if tried {
            self.coverage.count(if result.is_ok() { Point::KeptByTry } else { Point::TriedInVain });
        }
        note!(self, "connection {index}: send of {} -> {result:?}", bytes.len());
        result
    }

    fn shut_down(&mut self, socket: &Socket) -> io::Result<()> {
        let index = socket.connection;
        self.enter_for(index)?;
        note!(self, "connection {index}: shut down");
        let draining = self.drain_deadline.is_some();
        let greets = self.owes_greeting(&self.connections[index]);
        let connection = &mut self.connections[index];
        let owed = connection.owed();
        let by_fault = !connection.faults.is_empty() && !draining;
        // After the peer's end, the close alone is enough.
        let done = draining && connection.seen_empty && !connection.end_received && !greets;
        if connection.faults.is_empty() && (connection.shut || owed > 0 || !done) {
            let shut = connection.shut;
            let seen_empty = connection.seen_empty;
            self.broken(Promise::ShutDown, || {
                format!(
                    "connection {index} shut down with {owed} owed (already: {shut}, input seen empty: {seen_empty})"
                )
            });
        }
        let gone = self.connections[index].broken && self.connections[index].call_dice.chance(128);
        if self.fault_of(index, Point::ShutDownFails) || gone {
            return self.fail(index, Errno::ENOTCONN);
        }
        let connection = &mut self.connections[index];
        connection.shut = true;
        self.coverage.count(if by_fault { Point::ShutByFault } else { Point::DrainShutsDown });
        self.work += 1;
        self.wake_reader(index);
        Ok(())
    }

    fn close(&mut self, socket: Socket) {
        let _ = self.enter();
        // A connection that was refused or could not be set up held its descriptor only for a moment.
        self.closed_since_pause |= self.connections[socket.connection].target.is_some();
        self.check_close(socket.connection);
        self.connections[socket.connection].shut = true;
        self.wake_reader(socket.connection);
        self.last_call_closed = true;
        self.last_pause = None;
    }

    fn reset(&mut self, socket: Socket) {
        self.connections[socket.connection].is_reset = true;
        self.close(socket);
    }

    fn close_listener(&mut self, listener: Listener) {
        let _ = self.enter();
        self.close_port(listener.port);
    }

    fn receive_datagrams(&mut self, socket: &mut DatagramSocket, batch: &mut Batch) -> io::Result<usize> {
        self.receive_batch(socket.index, batch)
    }

    fn reply_datagrams(&mut self, socket: &mut DatagramSocket, batch: &Batch) -> Replied {
        self.reply_to_batch(socket.index, batch)
    }

    fn dropped_datagrams(&mut self, socket: &mut DatagramSocket) -> u64 {
        self.take_drops(socket.index)
    }

    fn close_datagrams(&mut self, socket: DatagramSocket) {
        self.close_udp(socket.index);
    }

    fn message_with_faults(&mut self, peer: &Peer, _: &str, payload: &[u8]) {
        self.message(peer, payload);
    }

    fn message(&mut self, peer: &Peer, payload: &[u8]) {
        // Handing a message to the log may take a while, in which the peers go on.
        if self.plan.log_time > 0 {
            let took = self.dice.below(self.plan.log_time);
            self.time += took;
            self.run_due();
            if took > MICROSECOND {
                self.coverage.count(Point::LogSlow);
            }
        }
        if !self.udp.in_hand.is_empty() {
            return self.check_datagram_message(peer, payload);
        }
        let Some(index) = self.received_from.take() else {
            return self.broken(Promise::Log, || format!("a message of {peer} is logged, and nothing was received"));
        };
        let shown = self.shown_peer(index);
        if *peer != shown {
            self.broken(Promise::Log, || format!("connection {index} is logged as {peer}, not as {shown}"));
        }
        let connection = &mut self.connections[index];
        let length = connection.message.take();
        let from = connection.received.saturating_sub(payload.len() as u64);
        if length != Some(payload.len() as u64) || !stream::matches(index, from, payload) {
            self.broken(Promise::Log, || {
                format!("connection {index}: {} bytes are logged after a receive of {length:?}", payload.len())
            });
        }
    }
}
