//! The results of accept, receive, peek and send: faults, the state of the sockets, and bytes.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};

use nix::errno::Errno;
use parrot_server::{CloseReason, Peer};

use crate::check::Promise;
use crate::connection::{Socket, Stage};
use crate::coverage::Point;
use crate::host::{SimulatedHost, note};
use crate::profile::Profile;
use crate::stream;
use crate::time::{MICROSECOND, MILLISECOND};

/// Each peer has a port of its own, from this one on.
pub(crate) const FIRST_PORT: usize = 10_000;
/// A loopback address with this port, which no story has enough peers and listeners to run out of.
pub(crate) fn address_of(port: usize) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, u16::try_from(port).unwrap_or(u16::MAX)).into()
}

/// The shortest pause of a connection for which there was no memory. An earlier call would only fail again.
const LEAST_PAUSE: u64 = MILLISECOND;
/// The shortest pause after accept has failed for a reason that may last, unless a connection was closed.
const LEAST_ACCEPT_PAUSE: u64 = 50 * MILLISECOND;
/// The number of calls in a row that a burst of interruptions hits.
const INTERRUPTIONS: u32 = 300;

/// Returns an error number as the result of a call.
pub(crate) fn error<T>(errno: Errno) -> io::Result<T> {
    Err(errno.into())
}

/// The close reason of a connection whose call failed with `errno`.
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

impl SimulatedHost {
    /// Ends the connection with an error.
    pub(crate) fn fail<T>(&mut self, index: usize, errno: Errno) -> io::Result<T> {
        self.connections[index].ended.get_or_insert(reason(errno));
        self.work += 1;
        note!(self, "  connection {index}: {errno}");
        error(errno)
    }

    /// Fails a call because there is no memory for the connection.
    pub(crate) fn starve<T>(&mut self, index: usize, errno: Errno) -> io::Result<T> {
        self.connections[index].memory_short = Some(self.turn_time);
        self.tally.retries += 1;
        self.last_shortage = Some(self.turn_time);
        error(errno)
    }

    /// Records that the connection is called again after memory was short.
    pub(crate) fn end_memory_pause(&mut self, index: usize) {
        if let Some(since) = self.connections[index].memory_short.take() {
            // Nobody watched for room in the pause, so the loop may try to send.
            self.connections[index].blocked = false;
            self.connections[index].excused = self.turn_time;
            if self.turn_time < since + LEAST_PAUSE {
                self.broken(Promise::Busy, || format!("connection {index} is called again at once after ENOBUFS"));
            }
            self.coverage.count(Point::MemoryRetried);
        }
    }

    pub(crate) fn pop_backlog(&mut self, port: usize) -> Option<usize> {
        self.work += 1;
        self.ports[port].backlog.pop_front()
    }

    /// Takes a connection off the backlog and fails accept because of it.
    pub(crate) fn drop_in_accept<T>(&mut self, port: usize, failure: io::Error) -> io::Result<T> {
        if let Some(index) = self.pop_backlog(port) {
            self.connections[index].stage = Stage::Dropped;
        }
        self.tally.accept_failures += 1;
        note!(self, "accept: {failure}");
        Err(failure)
    }

    /// Fails accept for a reason that may last. The connection stays in the backlog.
    fn pause_accepting<T>(&mut self, errno: Errno) -> io::Result<T> {
        match errno {
            Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM => self.tally.accept_pauses += 1,
            _ => self.tally.accept_failures += 1,
        }
        note!(self, "accept: {errno}");
        self.pause_ports();
        error(errno)
    }

    /// Gives all listeners a reason to pause, which holds for each of them.
    fn pause_ports(&mut self) {
        self.last_pause = Some(self.turn_time);
        self.closed_since_pause = false;
        for port in &mut self.ports {
            port.paused = Some(self.turn_time);
            port.pause_turn = self.tally.turns;
        }
    }

    /// Fails to watch a connection. If the system has run out of something, the connection goes on and accepting pauses.
    pub(crate) fn fail_watch(&mut self, index: usize) -> io::Result<()> {
        let errno = self.connections[index].call_dice.pick([Errno::ENOMEM, Errno::ENOSPC, Errno::EINTR]);
        if errno == Errno::EINTR {
            self.connections[index].ended.get_or_insert(CloseReason::Failed);
            return error(errno);
        }
        self.tally.accept_pauses += 1;
        self.pause_ports();
        self.starve(index, errno)
    }

    /// Checks that accept is not called too soon after a reason to pause.
    pub(crate) fn check_accept_pause(&mut self) {
        let pause = self.last_pause.map_or(0..0, |since| since + 1..since + LEAST_ACCEPT_PAUSE);
        if pause.contains(&self.turn_time) {
            self.broken(Promise::Busy, || "accept is tried again at once, although nothing was closed".to_owned());
        }
    }

    pub(crate) fn try_accept(&mut self, port: usize) -> io::Result<(Socket, Peer)> {
        let Some(&index) = self.ports[port].backlog.front() else {
            if self.fault(Point::AcceptInterrupted) {
                self.tally.accept_failures += 1;
                return error(Errno::EINTR);
            }
            self.ports[port].seen_empty = true;
            return error(Errno::EAGAIN);
        };
        self.connections[index].calls += 1;
        if self.fault_of(index, Point::AcceptInterrupted) {
            self.tally.accept_failures += 1;
            return error(Errno::EINTR);
        }
        if self.fault_of(index, Point::AcceptEmpty) {
            // The connection arrives right after the call.
            self.ports[port].seen_empty = true;
            return error(Errno::EAGAIN);
        }
        if self.open.len() >= self.plan.descriptors {
            self.coverage.count(Point::NoDescriptor);
            // XNU takes the connection off the queue before it looks for a descriptor.
            if self.plan.profile == Profile::Kqueue && self.connections[index].call_dice.chance(64) {
                self.coverage.count(Point::NoDescriptorDrops);
                if let Some(index) = self.pop_backlog(port) {
                    self.connections[index].stage = Stage::Dropped;
                }
            }
            return self.pause_accepting(Errno::EMFILE);
        }
        for (fault, errno) in [
            (Point::AcceptTableFull, Errno::ENFILE),
            (Point::AcceptNoBuffers, Errno::ENOBUFS),
            (Point::AcceptNoMemory, Errno::ENOMEM),
            (Point::AcceptOther, Errno::EIO),
        ] {
            if self.fault_of(index, fault) {
                return self.pause_accepting(errno);
            }
        }
        if self.fault_of(index, Point::AcceptForbidden) {
            // As from a security module, a jail or a system call filter.
            let errno = self.connections[index].call_dice.pick([Errno::EPERM, Errno::EACCES, Errno::EOPNOTSUPP]);
            return self.pause_accepting(errno);
        }
        if self.fault_of(index, Point::AcceptNetwork) {
            let errno = self.connections[index].call_dice.pick([
                Errno::EPROTO,
                Errno::ENOPROTOOPT,
                Errno::ENETDOWN,
                Errno::ENETUNREACH,
                Errno::EHOSTDOWN,
                Errno::EHOSTUNREACH,
                Errno::ETIMEDOUT,
            ]);
            return self.drop_in_accept(port, errno.into());
        }
        let gone = self.connections[index].broken && self.connections[index].call_dice.chance(128);
        if self.fault_of(index, Point::AcceptAborted) || gone {
            return self.drop_in_accept(port, Errno::ECONNABORTED.into());
        }
        // macOS accepts a connection that is gone with an empty address, which std refuses.
        if self.fault_of(index, Point::AcceptNoAddress) {
            return self.drop_in_accept(port, io::Error::new(ErrorKind::InvalidInput, "invalid argument"));
        }
        self.pop_backlog(port);
        let connection = &mut self.connections[index];
        connection.stage = Stage::Open;
        connection.note_activity(self.time);
        self.open.push(index);
        if self.drain_deadline.is_some() {
            self.coverage.count(Point::DrainAccepts);
        }
        note!(self, "accept: connection {index}");
        Ok((Socket { connection: index }, Peer::Internet(address_of(FIRST_PORT + index))))
    }

    /// Whether this call on a connection's socket is interrupted. Now and then the following calls are, too.
    fn is_interrupted(&mut self, index: usize, fault: Point) -> bool {
        let connection = &mut self.connections[index];
        if connection.interruptions > 0 {
            connection.interruptions -= 1;
            self.coverage.count(fault);
            self.work += 1;
            return true;
        }
        let interrupted = self.fault_of(index, fault);
        if interrupted && self.connections[index].call_dice.chance(1) {
            self.connections[index].interruptions = INTERRUPTIONS;
            self.coverage.count(Point::InterruptedAgain);
        }
        interrupted
    }

    /// Fails a peek or a receive if one of these faults happens.
    fn fail_input(&mut self, index: usize, [no_memory, fails, gone]: [Point; 3]) -> io::Result<()> {
        if self.fault_of(index, no_memory) {
            let errno = self.connections[index].call_dice.pick([Errno::ENOBUFS, Errno::ENOMEM]);
            return self.starve(index, errno);
        }
        for (fault, errno) in [(fails, Errno::EIO), (gone, Errno::ECONNRESET)] {
            if self.fault_of(index, fault) {
                return self.fail(index, errno);
            }
        }
        Ok(())
    }

    /// Looks for the end of the input.
    pub(crate) fn try_peek(&mut self, index: usize) -> io::Result<usize> {
        if self.fault_of(index, Point::PeekInterrupted) {
            return error(Errno::EINTR);
        }
        self.fail_input(index, [Point::PeekNoMemory, Point::PeekFails, Point::PeekGone])?;
        if let Some(errno) = self.connections[index].error.take() {
            return self.fail(index, errno);
        }
        if self.connections[index].unreceived() > 0 {
            return Ok(1);
        }
        if self.connections[index].end_in_sight() {
            self.coverage.count(Point::EndWithoutBuffer);
            self.receive_end(index);
            return Ok(0);
        }
        let draining = self.drain_deadline.is_some();
        self.connections[index].emptied(draining);
        error(Errno::EAGAIN)
    }

    /// Excuses an idle connection that is served, so that the loop may keep it for another idle timeout.
    pub(crate) fn excuse_if_idle(&mut self, index: usize) {
        if !self.is_idle(&self.connections[index]) {
            return;
        }
        self.connections[index].excused = self.turn_time;
        // This counts as work once in an idle timeout.
        if self.idle_due(self.connections[index].idle_look).is_some_and(|due| due <= self.turn_time) {
            self.connections[index].idle_look = self.turn_time;
            self.work += 1;
        }
    }

    /// Records what the loop learns from a look at the input of an idle connection.
    pub(crate) fn settle_idle_peek(&mut self, index: usize, result: &io::Result<usize>) {
        let found = match result {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            result => matches!(result, Ok(1..)),
        };
        let connection = &mut self.connections[index];
        if found {
            (connection.hinted, connection.read_on) = (true, true);
            self.coverage.count(Point::KeptByLook);
        }
    }

    /// Records that the loop has received the peer's end of stream.
    fn receive_end(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        connection.hinted = false;
        connection.end_received = true;
        if connection.shut {
            connection.ended.get_or_insert(CloseReason::Drained);
        }
        self.work += 1;
    }

    /// Receives bytes, the end of the input or an error.
    pub(crate) fn try_receive(&mut self, index: usize, space: &mut [u8]) -> io::Result<usize> {
        if self.is_interrupted(index, Point::ReceiveInterrupted) {
            return error(Errno::EINTR);
        }
        self.fail_input(index, [Point::ReceiveNoMemory, Point::ReceiveFails, Point::ReceiveGone])?;
        let waiting = self.connections[index].unreceived();
        if self.connections[index].readable() && self.fault_of(index, Point::ReceiveEmpty) {
            // The bytes or the end arrive right after the call, with an event of their own.
            self.connections[index].edge = true;
            return error(Errno::EAGAIN);
        }
        if waiting > 0 {
            return Ok(self.take_bytes(index, space));
        }
        if let Some(errno) = self.connections[index].error.take() {
            self.coverage.count(if errno == Errno::ECONNRESET { Point::ReceiveReset } else { Point::ReceiveTimedOut });
            return self.fail(index, errno);
        }
        if self.connections[index].end_in_sight() {
            self.receive_end(index);
            return Ok(0);
        }
        error(Errno::EAGAIN)
    }

    pub(crate) fn take_bytes(&mut self, index: usize, space: &mut [u8]) -> usize {
        let mut n = self.connections[index].unreceived().min(space.len() as u64);
        let connection = &self.connections[index];
        if let Some(mark) = connection.urgent
            && (connection.received + 1..connection.received + n).contains(&mark)
        {
            n = mark - connection.received;
            self.coverage.count(Point::UrgentStop);
        } else if n > 1 && self.fault_of(index, Point::ReceiveShort) {
            // The other bytes arrive right after the call, with an event of their own.
            let connection = &mut self.connections[index];
            n = 1 + connection.call_dice.below(n - 1);
            connection.edge = true;
        }
        let connection = &mut self.connections[index];
        stream::fill(index, connection.received, &mut space[..n as usize]);
        connection.received += n;
        connection.urgent = connection.urgent.filter(|mark| *mark >= connection.received);
        connection.note_activity(self.time);
        connection.message = Some(n);
        connection.unread = connection.unread.saturating_sub(n);
        connection.seen_empty = false;
        if n < space.len() as u64 && !connection.read_on && connection.unread == 0 {
            connection.emptied(self.drain_deadline.is_some());
        }
        self.tally.messages += 1;
        self.tally.bytes_in += n;
        self.work += 1;
        if connection.shut {
            self.tally.bytes_discarded += n;
            self.coverage.count(Point::DrainDiscards);
        } else {
            connection.filled += n;
            let (filled, most) = (connection.filled, self.plan.limits.max_output as u64);
            if filled > most {
                self.broken(Promise::Memory, || {
                    format!("connection {index} has {filled} bytes of {most} in its buffer")
                });
            }
            self.count_bytes(index, n);
        }
        self.wake_writer(index);
        n as usize
    }

    pub(crate) fn try_send(&mut self, index: usize, bytes: &[u8]) -> io::Result<usize> {
        if self.is_interrupted(index, Point::SendInterrupted) {
            return error(Errno::EINTR);
        }
        for (fault, errno) in [(Point::SendNoBuffers, Errno::ENOBUFS), (Point::SendNoMemory, Errno::ENOMEM)] {
            if self.fault_of(index, fault) {
                return self.starve(index, errno);
            }
        }
        for (fault, errno) in [(Point::SendPrototype, Errno::EPROTOTYPE), (Point::SendFails, Errno::EIO)] {
            if self.fault_of(index, fault) {
                return self.fail(index, errno);
            }
        }
        if self.fault_of(index, Point::SendGone) {
            let errno = self.connections[index].call_dice.pick([Errno::EPIPE, Errno::ECONNRESET]);
            return self.fail(index, errno);
        }
        if self.connections[index].broken {
            let connection = &mut self.connections[index];
            let pending = connection.error.take();
            let errno = pending.filter(|_| connection.call_dice.chance(128)).unwrap_or(Errno::EPIPE);
            self.coverage.count(if errno == Errno::EPIPE { Point::SendBrokenPipe } else { Point::SendReset });
            return self.fail(index, errno);
        }
        let connection = &mut self.connections[index];
        let mut n = connection.room().min(bytes.len() as u64);
        if n == 0 || self.fault_of(index, Point::SendFull) {
            self.connections[index].blocked = true;
            return error(Errno::EAGAIN);
        }
        if n > 1 && self.fault_of(index, Point::SendShort) {
            n = 1 + self.connections[index].call_dice.below(n - 1);
        }
        let connection = &mut self.connections[index];
        let (from, taken) = (connection.sent, &bytes[..n as usize]);
        connection.sent += n;
        connection.note_activity(self.time);
        connection.blocked = n < bytes.len() as u64;
        if connection.blocked {
            self.coverage.count(Point::SocketFilled);
        }
        if connection.sent == connection.received {
            connection.filled = 0;
            self.buffers_returned += 1;
        }
        if connection.peer_closed && !connection.broken {
            self.schedule(5 * MICROSECOND, crate::host::Action::Reset(index));
        }
        if !stream::matches(index, from, taken) {
            self.broken(Promise::Bytes, || format!("connection {index} was sent wrong bytes at {from}"));
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
