//! What the loop is to do later: one heap drives the wait's timeout, so no kernel timer is needed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
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

    /// When the next thing that is still wanted is due; what comes before it is forgotten.
    pub(crate) fn next_wanted(&mut self, wanted: impl Fn(&T) -> bool) -> Option<Instant> {
        while let Some(next) = self.0.peek_mut() {
            let Reverse((due, what)) = &*next;
            if wanted(what) {
                return Some(*due);
            }
            PeekMut::pop(next);
        }
        None
    }

    /// Takes the next thing that is due by `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<T> {
        if self.0.peek()?.0.0 > now {
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
