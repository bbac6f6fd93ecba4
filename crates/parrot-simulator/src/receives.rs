//! The results of receive and peek: faults, the state of the socket, and bytes.

use std::io::{self, ErrorKind};

use nix::errno::Errno;
use parrot_server::CloseReason;

use crate::attempts::error;
use crate::check::Promise;
use crate::coverage::Point;
use crate::host::SimulatedHost;
use crate::stream;

impl SimulatedHost {
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
    pub(crate) fn try_peek(&mut self, index: usize, space: &mut [u8]) -> io::Result<usize> {
        if self.fault_of(index, Point::PeekInterrupted) {
            return error(Errno::EINTR);
        }
        self.fail_input(index, [Point::PeekNoMemory, Point::PeekFails, Point::PeekGone])?;
        if let Some(errno) = self.connections[index].error.take() {
            return self.fail(index, errno);
        }
        // A look for any input has room for one byte.
        let (awaits_header, reads_header) = (self.connections[index].awaits_header(), space.len() > 1);
        if self.connections[index].unreceived() > 0 {
            return Ok(if awaits_header && reads_header { self.look_at_header(index, space) } else { 1 });
        }
        if self.connections[index].end_in_sight() {
            if awaits_header && !reads_header {
                // What the end means is not known before the header is read.
                (self.connections[index].hinted, self.connections[index].read_on) = (true, true);
                return Ok(0);
            }
            if self.cuts_header(index) {
                return Ok(0);
            }
            // A stall leaves the end in the socket too, until a drain.
            if !self.connections[index].faults.is_empty() && self.drain_deadline.is_none() {
                self.connections[index].end_seen = true;
                return Ok(0);
            }
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
    pub(crate) fn receive_end(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        connection.hinted = false;
        connection.end_received = true;
        if connection.shut && connection.faults.is_empty() {
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
        if self.connections[index].awaits_header() {
            return self.take_header(index, space);
        }
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
        } else if n > 1 && self.connections[index].unix && self.fault_of(index, Point::ReceiveStops) {
            // As at a message with descriptors. The other bytes are there, and no event follows.
            n = 1 + self.connections[index].call_dice.below(n - 1);
        }
        let connection = &mut self.connections[index];
        let from = connection.received;
        stream::fill(index, from, &mut space[..n as usize]);
        connection.received += n;
        connection.urgent = connection.urgent.filter(|mark| *mark >= connection.received);
        connection.note_activity(self.time);
        connection.message = Some(n);
        connection.unread = connection.unread.saturating_sub(n);
        connection.seen_empty = false;
        let came_short = n < space.len() as u64 && !connection.read_on && connection.unread == 0;
        connection.in_doubt = came_short && connection.unix;
        if connection.in_doubt {
            connection.may_read_on = true;
        } else if came_short {
            connection.came_short(self.drain_deadline.is_some());
        }
        self.received_from = Some(index);
        self.tally.messages += 1;
        self.tally.bytes_in += n;
        self.work += 1;
        if connection.shut {
            self.tally.bytes_discarded += n;
            self.coverage.count(Point::DrainDiscards);
        } else {
            self.promise(index, from, n);
            let (filled, most) = (self.connections[index].filled, self.buffer_size(&self.connections[index]));
            if filled > most && self.connections[index].faults.is_empty() {
                self.broken(Promise::Memory, || {
                    format!("connection {index} has {filled} bytes of {most} in its buffer")
                });
            }
            self.count_bytes(index, n);
        }
        self.wake_writer(index);
        n as usize
    }
}
