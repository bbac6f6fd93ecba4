//! The results of accept, and how calls fail.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};

use nix::errno::Errno;
use parrot_server::{CloseReason, Peer};

use crate::check::Promise;
use crate::connection::{Socket, Stage};
use crate::coverage::Point;
use crate::host::{SimulatedHost, note};
use crate::profile::Profile;
use crate::time::MILLISECOND;

/// Each peer has a port of its own, from this one on.
const FIRST_PORT: u16 = 10_000;
/// The address of peers that may not send a PROXY header.
const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
/// The user behind the first peer of a Unix socket.
const FIRST_USER: u32 = 1000;
/// The shortest pause of a connection for which there was no memory. An earlier call would only fail again.
const LEAST_PAUSE: u64 = MILLISECOND;
/// The shortest pause after accept has failed for a reason that may last, unless a connection was closed.
const LEAST_ACCEPT_PAUSE: u64 = 50 * MILLISECOND;
/// The number of calls in a row that a burst of interruptions hits.
const INTERRUPTIONS: u32 = 300;

/// The port of a peer. No story has enough peers to run out of ports.
pub(crate) fn port_of(peer: usize) -> u16 {
    FIRST_PORT.saturating_add(u16::try_from(peer).unwrap_or(u16::MAX))
}

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
            self.excuse_late_header(index);
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
        self.choose_faults(index);
        if self.drain_deadline.is_some() {
            self.coverage.count(Point::DrainAccepts);
        } else if self.ports[port].closes_by.is_some() {
            self.coverage.count(Point::RemovedAccepts);
        }
        if self.leave_deadline.is_some() {
            self.coverage.count(Point::DelayAccepts);
        }
        note!(self, "accept: connection {index}");
        Ok((Socket { connection: index }, self.own_peer(index)))
    }

    /// The peer of a connection, as the system reports it.
    pub(crate) fn own_peer(&self, index: usize) -> Peer {
        let connection = &self.connections[index];
        let address = match (connection.unix, connection.stranger) {
            (true, _) => return Peer::Unix { user: Some(FIRST_USER + index as u32) },
            (false, true) => STRANGER,
            (false, false) => Ipv4Addr::LOCALHOST,
        };
        Peer::from(SocketAddr::from((address, port_of(index))))
    }

    /// Whether this call on a connection's socket is interrupted. Now and then the following calls are, too.
    pub(crate) fn is_interrupted(&mut self, index: usize, fault: Point) -> bool {
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
}
