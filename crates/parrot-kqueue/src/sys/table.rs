//! Token and state of the two filters of each descriptor.
//!
//! The table is indexed by the descriptor's number, by which events are looked up. It is small, because a server has an
//! entry for each of its connections. The kernel decides whether something is registered. A descriptor that was closed
//! leaves an entry behind, which the next registration of its number replaces.

use crate::Token;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The two filters of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Read = 0,
    Write = 1,
}

/// Both filters together, with a `Tag` for the state of each. 24 bytes on a 64-bit system if a tag has four.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry<Tag> {
    tokens: [Token; 2],
    tags: [Tag; 2],
}

#[expect(clippy::indexing_slicing, reason = "an index by an enum of two into an array of two")]
impl<Tag: Copy> Entry<Tag> {
    pub(super) fn token(&self, direction: Direction) -> Token {
        self.tokens[direction as usize]
    }

    pub(super) fn tag(&self, direction: Direction) -> Tag {
        self.tags[direction as usize]
    }

    pub(super) fn set(&mut self, direction: Direction, token: Token, tag: Tag) {
        self.tokens[direction as usize] = token;
        self.tags[direction as usize] = tag;
    }

    #[cfg(target_os = "linux")]
    pub(super) fn set_tag(&mut self, direction: Direction, tag: Tag) {
        self.tags[direction as usize] = tag;
    }
}

/// All entries, by descriptor number.
#[derive(Debug, Default)]
pub(super) struct Table<Tag> {
    entries: Vec<Entry<Tag>>,
}

impl<Tag: Copy + Default> Table<Tag> {
    /// The entry of a descriptor, made if there is none.
    #[expect(clippy::indexing_slicing, reason = "the table has just been made long enough")]
    pub(super) fn entry(&mut self, descriptor: BorrowedFd<'_>) -> &mut Entry<Tag> {
        let index = index(descriptor);
        if index >= self.entries.len() {
            // Systems give out the lowest free number, so the table is never much longer than what is open. It grows by
            // an eighth, because doubling would leave up to half of it unused at tens of thousands of connections.
            let room = index / 8 + 16;
            self.entries.reserve_exact(index + room - self.entries.len());
            self.entries.resize(index + 1, Entry::default());
        }
        &mut self.entries[index]
    }

    /// The entry of a descriptor, if its number was ever registered.
    pub(super) fn existing(&mut self, descriptor: BorrowedFd<'_>) -> Option<&mut Entry<Tag>> {
        self.entries.get_mut(index(descriptor))
    }

    /// The entry of the descriptor with this number.
    #[cfg(target_os = "linux")]
    pub(super) fn at(&mut self, number: u32) -> Option<&mut Entry<Tag>> {
        self.entries.get_mut(number as usize)
    }
}

/// A valid descriptor is not negative.
fn index(descriptor: BorrowedFd<'_>) -> usize {
    descriptor.as_raw_fd().unsigned_abs() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_stays_small() {
        assert!(size_of::<Entry<u32>>() <= 24, "a server has one for each connection");
    }
}
