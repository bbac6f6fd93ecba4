//! The results of peek and receive while a PROXY header is awaited.

use parrot_server::CloseReason;

use crate::check::Promise;
use crate::coverage::Point;
use crate::host::{SimulatedHost, note};
use crate::stream;

impl SimulatedHost {
    /// Lets the loop look for the rest of a late header, without an event.
    pub(crate) fn hint_at_late_header(&mut self, index: usize) {
        if !self.is_header_late(&self.connections[index]) {
            return;
        }
        let idle = self.is_idle(&self.connections[index]);
        let connection = &mut self.connections[index];
        if connection.hinted || idle {
            // The reason for this look may also be an event or the idle timeout.
            connection.may_read_on = true;
        } else {
            (connection.hinted, connection.read_on) = (!connection.end_received, true);
        }
    }

    /// Copies what has arrived of a header, and of the bytes behind it, without receiving it.
    pub(crate) fn look_at_header(&mut self, index: usize, space: &mut [u8]) -> usize {
        let mut n = self.connections[index].unreceived().min(space.len() as u64);
        if n > 1 && self.fault_of(index, Point::ReceiveShort) {
            n = 1 + self.connections[index].call_dice.below(n - 1);
        }
        let connection = &mut self.connections[index];
        let Some(header) = connection.header.as_deref() else { return 0 };
        let (front, behind) = space[..n as usize].split_at_mut(header.waiting().len().min(n as usize));
        front.copy_from_slice(&header.waiting()[..front.len()]);
        stream::fill(index, connection.received, behind);
        if header.is_refused_within(front.len() as u64) {
            connection.ended.get_or_insert(CloseReason::HeaderRefused);
        }
        if !behind.is_empty() {
            self.coverage.count(Point::HeaderGlued);
        }
        n as usize
    }

    /// Whether the peer's stream ends here within its header, of which a part was received. The loop then refuses it.
    pub(crate) fn cuts_header(&mut self, index: usize) -> bool {
        let connection = &mut self.connections[index];
        let begun = connection.header.as_ref().is_some_and(|header| header.is_awaited() && header.received > 0);
        if begun {
            connection.ended.get_or_insert(CloseReason::HeaderRefused);
            self.coverage.count(Point::HeaderCut);
        }
        begun
    }

    /// Receives bytes of a header. The loop has looked at it before, and may not take a byte behind it or one that shows
    /// that it is not valid.
    pub(crate) fn take_header(&mut self, index: usize, space: &mut [u8]) -> usize {
        let Some(header) = self.connections[index].header.as_deref() else { return 0 };
        let (left, room) = (header.left(), space.len() as u64);
        let mut n = room.min(header.waiting().len() as u64);
        if room > left || header.is_refused_within(n) {
            self.broken(Promise::Header, || {
                format!("connection {index}: a receive into {room} with {left} bytes of its header left")
            });
        }
        if n > 1 && self.fault_of(index, Point::ReceiveShort) {
            n = 1 + self.connections[index].call_dice.below(n - 1);
        }
        let connection = &mut self.connections[index];
        let Some(header) = connection.header.as_deref_mut() else { return 0 };
        space[..n as usize].copy_from_slice(&header.waiting()[..n as usize]);
        header.received += n;
        header.receives += 1;
        let complete = !header.is_awaited();
        connection.unread = connection.unread.saturating_sub(n);
        connection.seen_empty = false;
        connection.note_activity(self.time);
        self.work += 1;
        self.wake_writer(index);
        if complete {
            self.complete_header(index);
        }
        n as usize
    }

    /// Records that the loop has received all of a header.
    fn complete_header(&mut self, index: usize) {
        note!(self, "connection {index}: its header is complete, from {}", self.shown_peer(index));
        let pool_empty = self.is_pool_empty();
        let connection = &mut self.connections[index];
        let Some(header) = connection.header.as_deref() else { return };
        let met = [
            (Point::HeaderComplete, true),
            (Point::HeaderInPieces, header.receives > 1),
            (Point::HeaderLate, header.due <= self.turn_time),
            (Point::HeaderWithoutBuffer, pool_empty),
        ];
        for (point, _) in met.into_iter().filter(|(_, met)| *met) {
            self.coverage.count(point);
        }
        if self.plan.doors.greeting.is_some() {
            // The greeting is sent without an event.
            (connection.hinted, connection.read_on) = (true, true);
        }
    }
}
