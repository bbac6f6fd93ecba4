//! What the loop is to do later: one heap drives the wait's timeout, so no kernel timer is needed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Things due, soonest first.
#[derive(Debug)]
pub(crate) struct Deadlines<T>(BinaryHeap<Reverse<(Instant, T)>>);

impl<T: Ord> Deadlines<T> {
    pub(crate) fn new() -> Deadlines<T> {
        Deadlines(BinaryHeap::new())
    }

    pub(crate) fn push(&mut self, due: Instant, what: T) {
        self.0.push(Reverse((due, what)));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// When the next thing is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes the next thing that is due by `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<T> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, what))| what)
    }

    /// Forgets what is no longer wanted once that may be more than half: connections end without looking for their
    /// deadlines here, and memory stays in proportion to the `live` ones.
    pub(crate) fn tidy(&mut self, live: usize, wanted: impl Fn(&T) -> bool) {
        const SLACK: usize = 64;
        if self.0.len() > 2 * live + SLACK {
            self.0.retain(|Reverse((_, what))| wanted(what));
            self.0.shrink_to(2 * live + SLACK);
        }
    }
}
