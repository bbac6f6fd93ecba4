//! What the loop has to do later. One heap drives the wait's timeout, so no kernel timer is needed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::moment::Moment;
use crate::host::ConnectionKey;

/// What a deadline is for. Of two deadlines at the same time the retry comes first, because the connection may then
/// turn out not to be idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The system may have memory for the connection again.
    Retry(ConnectionKey),
    /// The connection's PROXY header may still be incomplete.
    Header(ConnectionKey),
    /// The connection may have been idle for too long.
    Idle(ConnectionKey),
}

impl Due {
    pub(super) fn connection(self) -> ConnectionKey {
        match self {
            Due::Idle(key) | Due::Header(key) | Due::Retry(key) => key,
        }
    }
}

/// Deadlines, soonest first.
#[derive(Debug)]
pub(super) struct Deadlines(BinaryHeap<Reverse<(Moment, Due)>>);

impl Deadlines {
    pub(super) fn new() -> Deadlines {
        Deadlines(BinaryHeap::new())
    }

    pub(super) fn push(&mut self, due: Moment, what: Due) {
        self.0.push(Reverse((due, what)));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// When the next deadline that is still wanted is due. Those before it are discarded.
    pub(super) fn next_wanted(&mut self, wanted: impl Fn(&Due) -> bool) -> Option<Moment> {
        while let Some(next) = self.0.peek_mut() {
            let Reverse((due, what)) = &*next;
            if wanted(what) {
                return Some(*due);
            }
            PeekMut::pop(next);
        }
        None
    }

    /// Takes the next deadline that has passed by `now`.
    pub(super) fn pop_due(&mut self, now: Moment) -> Option<Due> {
        if self.0.peek()?.0.0 > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, what))| what)
    }

    /// Discards the deadlines of idle connections.
    pub(super) fn discard_idle(&mut self) {
        self.0.retain(|Reverse((_, what))| !matches!(what, Due::Idle(_)));
    }

    /// Discards what is no longer wanted, once there may be that much of it. Connections close without removing their
    /// deadlines from here, and this keeps memory in proportion to the `live` ones, which have three at most.
    pub(super) fn tidy(&mut self, live: usize, wanted: impl Fn(&Due) -> bool) {
        const SLACK: usize = 64;
        if self.0.len() > 3 * live + SLACK {
            self.0.retain(|Reverse((_, what))| wanted(what));
            self.0.shrink_to(3 * live + SLACK);
        }
    }
}
