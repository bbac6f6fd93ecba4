//! What the simulator needs of this crate. Not stable API.

pub use super::changes::{Change, Changes};
pub use super::means::Shared;
pub use super::state::EventLoop;
pub use crate::config::Settings;
pub use crate::host::{ConnectionKey, Event, Host, Pages, Target, Watch};
pub use crate::listen::{Label, OpenDatagramSocket, OpenListener, Opened};
pub use crate::statistics::Counters;

/// The loop's state after a turn, as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// Connections that are open.
    pub connections: usize,
    /// Bytes of the buffers that connections hold.
    pub lent: usize,
    /// Bytes of buffers that connections may hold.
    pub capacity: usize,
    /// Entries in the heap of deadlines, closed connections included.
    pub deadlines: usize,
    /// Entries in the list of connections whose share of a turn was used up, closed ones included.
    pub unfinished: usize,
    /// Entries in the list of connections that wait for a buffer, closed ones included.
    pub waiting: usize,
    /// Bytes that the tables of connections and deadlines and the lists take, with what they have room for.
    pub table_bytes: usize,
}

impl<H: Host> EventLoop<H> {
    /// The state as it is now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            connections: self.connections.len(),
            lent: self.means.pool.lent(),
            capacity: self.means.pool.capacity(),
            deadlines: self.deadlines.len(),
            unfinished: self.lists.unfinished(),
            waiting: self.lists.waiting(),
            table_bytes: self.connections.bytes() + self.deadlines.bytes() + self.lists.bytes(),
        }
    }
}
