//! The events of one wait.

use crate::{Event, sys};
use std::fmt;

/// The events of one wait, in a list that every wait fills anew.
///
/// ```
/// use parrot_kqueue::{Events, Kqueue};
/// use std::time::Duration;
///
/// let queue = Kqueue::new()?;
/// let mut events = Events::with_capacity(256);
/// queue.wait(&mut events, Some(Duration::ZERO))?;
/// assert!(events.is_empty());
/// assert_eq!((events.len(), events.capacity()), (0, 256));
/// # std::io::Result::Ok(())
/// ```
pub struct Events {
    pub(crate) list: Vec<Event>,
    pub(crate) buffer: sys::Buffer,
}

impl Events {
    /// Makes a list with room for this many events per wait, at least one. The next wait reports what does not fit.
    ///
    /// A descriptor can have two events in one wait, one of Read and one of Write.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Events {
        let capacity = capacity.max(1);
        Events { list: Vec::with_capacity(capacity), buffer: sys::Buffer::with_capacity(capacity) }
    }

    /// How many events a wait can report. A wait that reports this many may leave some for the next one.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// The events of the last wait, in no promised order.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.list.iter().copied())
    }

    /// The event at this index, for loops that must not borrow the list.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Event> {
        self.list.get(index).copied()
    }

    /// How many events the last wait reported.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether the last wait reported none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(&self.list).finish()
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = Event;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The events of one wait, by value. Made by [`Events::iter`].
///
/// ```
/// let events = parrot_kqueue::Events::with_capacity(8);
/// assert_eq!(events.iter().len(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct Iter<'a>(std::iter::Copied<std::slice::Iter<'a, Event>>);

impl Iterator for Iter<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}
