//! What the loop has to do later. One heap drives the wait's timeout, so no kernel timer is needed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::time::Instant;

/// Deadlines, soonest first.
#[derive(Debug)]
pub(super) struct Deadlines<T>(BinaryHeap<Reverse<(Instant, T)>>);

impl<T: Ord> Deadlines<T> {
    pub(super) fn new() -> Deadlines<T> {
        Deadlines(BinaryHeap::new())
    }

    pub(super) fn push(&mut self, due: Instant, what: T) {
        self.0.push(Reverse((due, what)));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// When the next deadline that is still wanted is due. Those before it are discarded.
    pub(super) fn next_wanted(&mut self, wanted: impl Fn(&T) -> bool) -> Option<Instant> {
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
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<T> {
        if self.0.peek()?.0.0 > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, what))| what)
    }

    /// Discards what is no longer wanted once that may be more than half. Connections close without removing their
    /// deadlines from here, and this keeps memory in proportion to the `live` ones.
    pub(super) fn tidy(&mut self, live: usize, wanted: impl Fn(&T) -> bool) {
        const SLACK: usize = 64;
        if self.0.len() > 2 * live + SLACK {
            self.0.retain(|Reverse((_, what))| wanted(what));
            self.0.shrink_to(2 * live + SLACK);
        }
    }
}
