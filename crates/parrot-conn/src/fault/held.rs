//! Datagrams that leave later than they were answered.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::datagram::Fate;

/// How long a datagram waits for the one that it is to leave behind.
pub const REORDER_WAIT: Duration = Duration::from_millis(100);

/// Datagrams that wait until they are due, in a bounded amount of memory. The times are since any fixed point.
///
/// A datagram with a shorter delay overtakes others, as in a real network. A reordered one waits for the next and
/// leaves behind it. If none comes it leaves [`REORDER_WAIT`] later than it was due. Only one datagram at a time waits
/// for another.
///
/// ```
/// use std::time::Duration;
/// use parrot_conn::fault::{Fate, Held};
///
/// let mut held = Held::new(1024);
/// let ms = Duration::from_millis;
/// held.hold("late", 4, Fate { delay: ms(50), ..Fate::PLAIN }, ms(0))?;
/// held.hold("soon", 4, Fate { delay: ms(10), ..Fate::PLAIN }, ms(0))?;
/// assert_eq!((held.pop(ms(9)), held.next()), (None, Some(ms(10))));
/// assert_eq!((held.pop(ms(50)), held.pop(ms(50))), (Some("soon"), Some("late")));
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug)]
pub struct Held<T> {
    waiting: BinaryHeap<Reverse<Entry<T>>>,
    /// A reordered datagram, which waits for the next.
    reordered: Option<Entry<T>>,
    /// The number of the next entry.
    number: u64,
    bytes: usize,
    most_bytes: usize,
}

#[derive(Debug)]
struct Entry<T> {
    due: Duration,
    number: u64,
    size: usize,
    datagram: T,
}

/// What an entry costs beside its bytes.
const ENTRY: usize = 128;

impl<T> Held<T> {
    /// Holds datagrams of up to `most_bytes` bytes in all. Each counts 128 bytes more than it has.
    pub fn new(most_bytes: usize) -> Held<T> {
        Held { waiting: BinaryHeap::new(), reordered: None, number: 0, bytes: 0, most_bytes }
    }

    /// Takes a datagram of this many bytes until it is due.
    ///
    /// # Errors
    ///
    /// The datagram, if there is no room for it. It is then lost, as in a router whose queue is full.
    pub fn hold(&mut self, datagram: T, size: usize, fate: Fate, now: Duration) -> Result<(), T> {
        let size = size.saturating_add(ENTRY);
        if self.bytes.saturating_add(size) > self.most_bytes {
            return Err(datagram);
        }
        self.bytes += size;
        let entry = Entry { due: now.saturating_add(fate.delay), number: self.next_number(), size, datagram };
        match self.reordered.take() {
            None if fate.reordered => {
                self.reordered = Some(Entry { due: entry.due.saturating_add(REORDER_WAIT), ..entry });
            }
            None => self.waiting.push(Reverse(entry)),
            Some(earlier) => {
                // Its due time includes the wait, which is over.
                let due = earlier.due.saturating_sub(REORDER_WAIT).max(entry.due);
                self.waiting.push(Reverse(entry));
                let number = self.next_number();
                self.waiting.push(Reverse(Entry { due, number, ..earlier }));
            }
        }
        Ok(())
    }

    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Takes the next datagram that is due at this time.
    pub fn pop(&mut self, now: Duration) -> Option<T> {
        if let Some(entry) = self.reordered.take_if(|entry| entry.due <= now) {
            self.waiting.push(Reverse(entry));
        }
        if self.waiting.peek().is_none_or(|Reverse(entry)| entry.due > now) {
            return None;
        }
        let Reverse(entry) = self.waiting.pop()?;
        self.bytes -= entry.size;
        Some(entry.datagram)
    }

    /// When the next datagram is due.
    pub fn next(&self) -> Option<Duration> {
        let waiting = self.waiting.peek().map(|Reverse(entry)| entry.due);
        let reordered = self.reordered.as_ref().map(|entry| entry.due);
        [waiting, reordered].into_iter().flatten().min()
    }

    /// The bytes that are held, as [`new`](Held::new) counts them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl<T> Entry<T> {
    fn key(&self) -> (Duration, u64) {
        (self.due, self.number)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Entry<T>) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Entry<T>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Entry<T>) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REORDERED: Fate = Fate { reordered: true, ..Fate::PLAIN };
    const MILLISECOND: Duration = Duration::from_millis(1);

    fn popped(held: &mut Held<char>, now: Duration) -> String {
        std::iter::from_fn(|| held.pop(now)).collect()
    }

    #[test]
    fn a_reordered_datagram_leaves_right_behind_the_next() {
        let mut held = Held::new(10_000);
        for (datagram, fate) in [('a', REORDERED), ('b', Fate::PLAIN), ('c', Fate::PLAIN)] {
            held.hold(datagram, 1, fate, Duration::ZERO).unwrap();
        }
        assert_eq!(popped(&mut held, Duration::ZERO), "bac");
        assert_eq!((held.next(), held.bytes()), (None, 0));
    }

    #[test]
    fn a_reordered_datagram_leaves_alone_if_none_comes() {
        let mut held = Held::new(10_000);
        held.hold('a', 1, REORDERED, MILLISECOND).unwrap();
        let due = MILLISECOND + REORDER_WAIT;
        assert_eq!((popped(&mut held, due - MILLISECOND), held.next()), (String::new(), Some(due)));
        assert_eq!(popped(&mut held, due), "a");
    }

    #[test]
    fn two_reordered_datagrams_change_places() {
        let mut held = Held::new(10_000);
        held.hold('a', 1, REORDERED, Duration::ZERO).unwrap();
        held.hold('b', 1, REORDERED, Duration::ZERO).unwrap();
        assert_eq!(popped(&mut held, Duration::ZERO), "ba");
    }

    #[test]
    fn a_datagram_without_room_is_given_back() {
        let mut held = Held::new(2 * (ENTRY + 10));
        let late = Fate { delay: MILLISECOND, ..Fate::PLAIN };
        held.hold('a', 10, late, Duration::ZERO).unwrap();
        held.hold('b', 10, late, Duration::ZERO).unwrap();
        assert_eq!(held.hold('c', 0, late, Duration::ZERO), Err('c'));
        assert_eq!(popped(&mut held, MILLISECOND), "ab");
        assert_eq!(held.hold('c', 10, late, MILLISECOND), Ok(()));
    }
}
