//! The results of send: faults, the state of the socket, and the check of every byte.

use std::io;

use nix::errno::Errno;

use crate::attempts::error;
use crate::coverage::Point;
use crate::host::{Action, SimulatedHost};
use crate::time::MICROSECOND;

impl SimulatedHost {
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
        if connection.sent == connection.promised {
            connection.filled = 0;
            self.buffers_returned += 1;
        }
        if connection.peer_closed && !connection.broken {
            self.schedule(5 * MICROSECOND, Action::Reset(index));
        }
        self.check_sent(index, from, taken);
        self.tally.bytes_out += n;
        self.work += 1;
        if self.drain_deadline.is_some() {
            self.coverage.count(Point::DrainEchoes);
        }
        self.wake_reader(index);
        Ok(n as usize)
    }
}
