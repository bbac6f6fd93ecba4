//! What the loop has to do later. The earliest deadline is the end of the next wait, so no kernel timer is needed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::moment::Moment;
use crate::host::ConnectionKey;

/// What a deadline is for. Of two deadlines at the same time the retry comes first, because the connection may then
/// turn out not to be idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// The system may have memory for the connection again.
    Retry(ConnectionKey),
    /// The connection's PROXY header may still be incomplete, or its faults may permit more.
    Extras(ConnectionKey),
    /// The connection may have been idle for too long.
    Idle(ConnectionKey),
}

impl Due {
    /// The kinds in the order of the heaps.
    const KINDS: [fn(ConnectionKey) -> Due; 3] = [Due::Retry, Due::Extras, Due::Idle];

    pub(super) fn connection(self) -> ConnectionKey {
        match self {
            Due::Idle(key) | Due::Extras(key) | Due::Retry(key) => key,
        }
    }
}

/// How many more entries there may be than the connections need.
const SLACK: usize = 64;

/// Deadlines of one kind, soonest first. With an idle timeout every connection has an entry, of 16 bytes.
type Heap = BinaryHeap<Reverse<(Moment, ConnectionKey)>>;

/// Deadlines, soonest first, with a heap for each kind.
#[derive(Debug, Default)]
pub(super) struct Deadlines([Heap; 3]);

impl Deadlines {
    pub(super) fn push(&mut self, due: Moment, what: Due) {
        let [retries, extras, idle] = &mut self.0;
        let heap = match what {
            Due::Retry(_) => retries,
            Due::Extras(_) => extras,
            Due::Idle(_) => idle,
        };
        // Doubling would leave up to half of the room unused.
        if heap.len() == heap.capacity() {
            heap.reserve_exact(heap.len() / 8 + SLACK);
        }
        heap.push(Reverse((due, what.connection())));
    }

    /// Whether there are none. Without an idle timeout that is the rule, so a turn asks this before it looks into the heaps,
    /// which would take 50 instructions.
    fn is_empty(&self) -> bool {
        self.0.iter().all(Heap::is_empty)
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(Heap::len).sum()
    }

    /// The memory in bytes that the heaps take, with what they have room for.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|heap| heap.capacity() * size_of::<Reverse<(Moment, ConnectionKey)>>()).sum()
    }

    /// When the next deadline that is still wanted is due. Those before it are discarded.
    #[inline]
    pub(super) fn next_wanted(&mut self, wanted: impl Fn(Moment, Due) -> bool) -> Option<Moment> {
        if self.is_empty() { None } else { self.discard_unwanted(wanted) }
    }

    /// Discards the deadlines before the next one that is wanted, and returns that.
    // Not inlined, which saves 6 of a message's 400 instructions.
    #[inline(never)]
    fn discard_unwanted(&mut self, wanted: impl Fn(Moment, Due) -> bool) -> Option<Moment> {
        let next = |(kind, heap): (fn(ConnectionKey) -> Due, &mut Heap)| {
            while let Some(next) = heap.peek_mut() {
                let Reverse((due, key)) = *next;
                if wanted(due, kind(key)) {
                    return Some(due);
                }
                PeekMut::pop(next);
            }
            None
        };
        Due::KINDS.into_iter().zip(&mut self.0).filter_map(next).min()
    }

    /// Takes the next deadline that has passed by `now`, with its time.
    pub(super) fn pop_due(&mut self, now: Moment) -> Option<(Moment, Due)> {
        let first = |heap: &Heap| heap.peek().map(|Reverse((due, _))| *due).filter(|due| *due <= now);
        let heaps = Due::KINDS.into_iter().zip(&mut self.0);
        let passed = heaps.filter_map(|(kind, heap)| Some((first(heap)?, kind, heap)));
        // Of several at the same time, this is the first kind.
        let (_, kind, heap) = passed.min_by_key(|(due, ..)| *due)?;
        heap.pop().map(|Reverse((due, key))| (due, kind(key)))
    }

    /// Discards the deadlines of idle connections.
    pub(super) fn discard_idle(&mut self) {
        let [_, _, idle] = &mut self.0;
        *idle = Heap::new();
    }

    /// Discards what is no longer wanted, once there may be that much of it. Connections close without removing their
    /// deadlines from here, and this keeps memory in proportion to the `live` ones. These have three at most, and with faults
    /// a few more.
    pub(super) fn tidy(&mut self, live: usize, wanted: impl Fn(Moment, Due) -> bool) {
        if self.len() > 3 * live + SLACK {
            for (kind, heap) in Due::KINDS.into_iter().zip(&mut self.0) {
                heap.retain(|Reverse((due, key))| wanted(*due, kind(*key)));
                heap.shrink_to(heap.len() + SLACK);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;

    fn key(slot: u32) -> ConnectionKey {
        ConnectionKey { slot, generation: NonZeroU32::MIN }
    }

    fn at(seconds: u64) -> Moment {
        Moment::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn deadlines_come_in_order_and_the_retry_first() {
        let mut deadlines = Deadlines::default();
        for (seconds, what) in [
            (3, Due::Idle(key(1))),
            (2, Due::Idle(key(2))),
            (2, Due::Retry(key(2))),
            (9, Due::Retry(key(3))),
            (2, Due::Extras(key(4))),
        ] {
            deadlines.push(at(seconds), what);
        }
        assert_eq!(deadlines.next_wanted(|_, _| true), Some(at(2)));
        assert_eq!(deadlines.pop_due(at(1)), None);
        let due: Vec<Due> = std::iter::from_fn(|| deadlines.pop_due(at(3)).map(|(_, due)| due)).collect();
        assert_eq!(due, [Due::Retry(key(2)), Due::Extras(key(4)), Due::Idle(key(2)), Due::Idle(key(1))]);
        assert_eq!((deadlines.len(), deadlines.next_wanted(|_, _| true)), (1, Some(at(9))));
    }

    #[test]
    fn deadlines_of_closed_connections_are_discarded() {
        let mut deadlines = Deadlines::default();
        for slot in 0..1000 {
            deadlines.push(at(slot.into()), Due::Idle(key(slot)));
        }
        let open = |_, due: Due| due.connection().slot >= 990;
        assert_eq!(deadlines.next_wanted(open), Some(at(990)));
        for slot in 0..1000 {
            deadlines.push(at(slot.into()), Due::Idle(key(slot)));
        }
        deadlines.tidy(10, open);
        assert_eq!(deadlines.len(), 20);
        assert!(deadlines.bytes() < 4096, "{} bytes", deadlines.bytes());
    }
}
