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

/// The last registration of a filter, with a `Tag` for its state. 12 bytes on a 64-bit system if a tag has four.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry<Tag> {
    /// A `Token`, in bytes. As a number it would have to lie at a multiple of its size, which costs four bytes more.
    token: [u8; size_of::<usize>()],
    tag: Tag,
}

impl<Tag: Copy> Entry<Tag> {
    pub(super) fn token(&self) -> Token {
        Token(usize::from_ne_bytes(self.token))
    }

    pub(super) fn tag(&self) -> Tag {
        self.tag
    }

    pub(super) fn set(&mut self, token: Token, tag: Tag) {
        self.token = token.0.to_ne_bytes();
        self.tag = tag;
    }

    #[cfg(target_os = "linux")]
    pub(super) fn set_tag(&mut self, tag: Tag) {
        self.tag = tag;
    }
}

/// How many entries a chunk has.
const CHUNK: usize = 128;

/// The entries of one filter, in chunks by descriptor number.
type Chunks<Tag> = Vec<Option<Box<[Entry<Tag>; CHUNK]>>>;

/// All entries.
///
/// Systems give out the lowest free number, so the chunks are nearly full. A chunk is made when a number in it is first
/// registered for that filter, and is never copied. Few connections are ever registered for Write.
#[derive(Debug)]
pub(super) struct Table<Tag> {
    read: Chunks<Tag>,
    write: Chunks<Tag>,
}

impl<Tag> Default for Table<Tag> {
    fn default() -> Self {
        Table { read: Vec::new(), write: Vec::new() }
    }
}

impl<Tag: Copy + Default> Table<Tag> {
    /// The entry of a descriptor, made if there is none.
    #[expect(clippy::indexing_slicing, reason = "the list of chunks has just been made long enough")]
    pub(super) fn entry(&mut self, descriptor: BorrowedFd<'_>, direction: Direction) -> &mut Entry<Tag> {
        let number = number(descriptor);
        let (chunks, chunk) = (self.chunks(direction), number / CHUNK);
        if chunk >= chunks.len() {
            chunks.resize_with(chunk + 1, || None);
        }
        &mut chunks[chunk].get_or_insert_with(|| Box::new([Entry::default(); CHUNK]))[number % CHUNK]
    }

    /// The entry of a descriptor, if its number was ever registered for this filter.
    pub(super) fn existing(&mut self, descriptor: BorrowedFd<'_>, direction: Direction) -> Option<&mut Entry<Tag>> {
        self.at(number(descriptor), direction)
    }

    /// The entry of the descriptor with this number.
    #[inline]
    pub(super) fn at(&mut self, number: usize, direction: Direction) -> Option<&mut Entry<Tag>> {
        self.chunks(direction).get_mut(number / CHUNK)?.as_mut()?.get_mut(number % CHUNK)
    }

    #[inline]
    fn chunks(&mut self, direction: Direction) -> &mut Chunks<Tag> {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }
}

/// A valid descriptor is not negative.
fn number(descriptor: BorrowedFd<'_>) -> usize {
    descriptor.as_raw_fd().unsigned_abs() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_stays_small() {
        assert!(size_of::<Entry<u32>>() <= 12, "a server has one for each connection");
    }

    #[test]
    fn each_filter_of_a_descriptor_has_an_entry_of_its_own() {
        let mut table = Table::<u32>::default();
        let file = std::fs::File::open("/dev/null").unwrap();
        let descriptor = std::os::fd::AsFd::as_fd(&file);
        assert!(table.existing(descriptor, Direction::Read).is_none());
        table.entry(descriptor, Direction::Read).set(Token(usize::MAX), 7);
        let number = number(descriptor);
        let entry = table.at(number, Direction::Read).unwrap();
        assert_eq!((entry.token(), entry.tag()), (Token(usize::MAX), 7));
        assert!(table.existing(descriptor, Direction::Write).is_none());
        assert_eq!(table.entry(descriptor, Direction::Write).tag(), 0);
        assert!(table.at(number + CHUNK, Direction::Read).is_none());
    }
}
