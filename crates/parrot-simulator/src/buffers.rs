//! The buffers that the loop holds for connections, as its calls show them, and the checks of their sizes.

use std::io;

use parrot_server::simulation::Snapshot;

use crate::check::Promise;
use crate::connection::Connection;
use crate::coverage::Point;
use crate::host::SimulatedHost;

/// How many whole buffers a peer takes at once before the loop may give it a large one.
const TAKES_BEFORE_LARGE: u32 = 64;
/// Limits up to this one grow for a stream, by this factor.
const MOST_THAT_GROWS: u64 = 128 * 1024;
const GROWTH: u64 = 4;

/// What the loop's calls show of the buffer of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held {
    /// The size of the buffer that it last received into, or 0 before the first receive.
    size: u64,
    /// How many whole buffers the peer took at once, less the smaller sends.
    takes: u32,
}

impl SimulatedHost {
    fn usual_size(&self) -> u64 {
        self.plan.limits.max_output as u64
    }

    /// The most bytes that any connection may hold.
    pub(crate) fn large_size(&self) -> u64 {
        let usual = self.usual_size();
        if usual <= MOST_THAT_GROWS { GROWTH * usual } else { usual }
    }

    /// Whether the loop has no buffer for a connection without one.
    pub(crate) fn is_pool_empty(&self) -> bool {
        self.lent as u64 + self.usual_size() > self.capacity as u64
    }

    /// The size of the buffer that a connection holds if it is owed bytes. A greeting is written to a usual one.
    pub(crate) fn buffer_size(&self, connection: &Connection) -> u64 {
        connection.buffer.size.max(self.usual_size())
    }

    /// The sizes of the buffers of the connections that are owed bytes.
    fn held(&self) -> u64 {
        let open = self.open.iter().map(|index| &self.connections[*index]);
        open.filter(|connection| connection.owed() > 0).map(|connection| self.buffer_size(connection)).sum()
    }

    /// Records what buffer the loop receives into, and checks that a large one is permitted. A header needs no buffer.
    pub(crate) fn see_buffer(&mut self, index: usize, space: usize) {
        let (usual, large) = (self.usual_size(), self.large_size());
        let connection = &mut self.connections[index];
        // A receive that is thrown away has no buffer of the pool.
        if connection.awaits_header() || connection.owed() > 0 || !connection.faults.is_empty() {
            return;
        }
        let is_large = space as u64 > usual;
        connection.buffer.size = if is_large { large } else { usual };
        if !is_large {
            return;
        }
        // What it had from earlier in the turn it may keep.
        let (takes, is_new) = (connection.buffer.takes, connection.calls_in_turn == 1);
        let (lent, half) = (self.held() + large, (self.plan.limits.max_buffered as u64).max(usual) / 2);
        self.coverage.count(Point::LargeBuffer);
        if takes < TAKES_BEFORE_LARGE || (is_new && lent > half) {
            self.broken(Promise::Memory, || {
                format!(
                    "connection {index} gets a large buffer after {takes} whole ones, with {lent} bytes lent of {half}"
                )
            });
        }
    }

    /// Counts what the peer has taken of the bytes that the loop wanted to send.
    pub(crate) fn count_take(&mut self, index: usize, wanted: usize, taken: &io::Result<usize>) {
        let (usual, large) = (self.usual_size(), self.large_size());
        let held = &mut self.connections[index].buffer;
        match taken {
            Ok(n) if *n == wanted => {
                let whole = *n as u64 >= usual;
                held.takes = if whole { TAKES_BEFORE_LARGE.min(held.takes + 1) } else { held.takes.saturating_sub(1) };
            }
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {}
            _ => {
                held.takes = 0;
                if held.size == large && large > usual {
                    self.coverage.count(Point::LargeBehind);
                }
            }
        }
    }

    /// How many bytes of buffers may be lent.
    pub(crate) fn most_lent(&self) -> u64 {
        let limits = &self.plan.limits;
        self.lent_before.max(limits.max_buffered.max(limits.max_output) as u64)
    }

    /// Checks that exactly the connections that are owed bytes hold a buffer, and that all of them are within their bound.
    pub(crate) fn check_buffers(&mut self, seen: &Snapshot) {
        (self.lent, self.capacity) = (seen.lent, seen.capacity);
        if self.is_pool_empty() {
            self.coverage.count(Point::PoolEmpty);
        }
        let (lent, held) = (seen.lent as u64, self.held());
        let most = self.most_lent();
        self.lent_before = self.lent_before.min(lent);
        if (lent != held && !self.misbehaves()) || lent > most {
            self.broken(Promise::Memory, || {
                format!("{lent} bytes of buffers are lent of {most}, and connections that are owed bytes hold {held}")
            });
        }
    }
}
