//! What the queue remembers of each descriptor: the token and the mode of its two filters.
//!
//! Indexed by the descriptor's number, because that is what an event is looked up by, and small, because a server
//! has an entry for each of its connections. It never decides whether something is registered where the kernel can
//! tell: a descriptor that was closed leaves an entry behind that the next registration of its number replaces.

use crate::{Token, change::Mode};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The two filters of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read = 0,
    Write = 1,
}

/// A registration's state in one word: mode and flags below, a generation above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tag(u32);

#[cfg(not(target_os = "linux"))]
impl Tag {
    const LOW_WATER: u32 = 1 << 3;

    pub(crate) fn new(mode: Mode, low_water: bool) -> Self {
        Tag(u32::from(mode.bits()) | if low_water { Self::LOW_WATER } else { 0 })
    }

    pub(crate) fn has_low_water(self) -> bool {
        self.0 & Self::LOW_WATER != 0
    }
}

#[cfg(target_os = "linux")]
impl Tag {
    const MODE: u32 = 0b111;
    /// How many bits mode and flags take below the generation.
    const FLAGS: u32 = 6;

    /// The registration exists, enabled or not.
    pub(crate) const PRESENT: Tag = Tag(1 << 3);
    /// The registration exists and its events are wanted.
    pub(crate) const ENABLED: Tag = Tag(1 << 4);
    /// The kernel's set has an entry for it, if the descriptor was not closed since.
    pub(crate) const KNOWN: Tag = Tag(1 << 5);

    pub(crate) fn new(generation: u32, mode: Mode) -> Self {
        Tag(generation << Self::FLAGS | u32::from(mode.bits()))
    }

    pub(crate) fn mode(self) -> Mode {
        Mode::from_bits((self.0 & Self::MODE) as u8)
    }

    /// Tells one registration of a descriptor's number from those before it; 26 bits, then it starts again.
    pub(crate) fn generation(self) -> u32 {
        self.0 >> Self::FLAGS
    }

    pub(crate) fn next_generation(self) -> u32 {
        self.generation().wrapping_add(1) & (u32::MAX >> Self::FLAGS)
    }

    pub(crate) fn has(self, flag: Tag) -> bool {
        self.0 & flag.0 == flag.0
    }

    pub(crate) fn with(self, flag: Tag) -> Self {
        Tag(self.0 | flag.0)
    }

    pub(crate) fn without(self, flag: Tag) -> Self {
        Tag(self.0 & !flag.0)
    }
}

/// 24 bytes on a 64-bit system, both filters together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    tokens: [Token; 2],
    tags: [Tag; 2],
}

#[expect(clippy::indexing_slicing, reason = "an index by an enum of two into an array of two")]
impl Entry {
    pub(crate) fn token(&self, direction: Direction) -> Token {
        self.tokens[direction as usize]
    }

    pub(crate) fn tag(&self, direction: Direction) -> Tag {
        self.tags[direction as usize]
    }

    pub(crate) fn set(&mut self, direction: Direction, token: Token, tag: Tag) {
        self.tokens[direction as usize] = token;
        self.tags[direction as usize] = tag;
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn set_tag(&mut self, direction: Direction, tag: Tag) {
        self.tags[direction as usize] = tag;
    }
}

/// All entries, by descriptor number.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: Vec<Entry>,
}

impl Table {
    /// The entry of a descriptor, made if there is none.
    #[expect(clippy::indexing_slicing, reason = "the table has just been made long enough")]
    pub(crate) fn entry(&mut self, descriptor: BorrowedFd<'_>) -> &mut Entry {
        let index = index(descriptor);
        if index >= self.entries.len() {
            // Numbers are given out from the lowest, so the table is never much longer than what is open. It grows by
            // an eighth: doubling would leave up to half of it unused at tens of thousands of connections.
            let room = index / 8 + 16;
            self.entries.reserve_exact(index + room - self.entries.len());
            self.entries.resize(index + 1, Entry::default());
        }
        &mut self.entries[index]
    }

    /// The entry of a descriptor, if there ever was a registration for its number.
    pub(crate) fn existing(&mut self, descriptor: BorrowedFd<'_>) -> Option<&mut Entry> {
        self.entries.get_mut(index(descriptor))
    }

    /// The entry of the descriptor with this number.
    #[cfg(target_os = "linux")]
    pub(crate) fn at(&mut self, number: u32) -> Option<&mut Entry> {
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
        assert!(size_of::<Entry>() <= 24, "a server has one for each connection");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_tag_keeps_generation_mode_and_flags_apart() {
        let mode = Mode::EDGE | Mode::DISPATCH;
        let tag = Tag::new(u32::MAX >> 6, mode).with(Tag::PRESENT).with(Tag::KNOWN);
        assert_eq!(tag.mode(), mode);
        assert!(tag.has(Tag::PRESENT) && tag.has(Tag::KNOWN) && !tag.has(Tag::ENABLED));
        assert_eq!(tag.generation(), u32::MAX >> 6);
        assert_eq!(tag.next_generation(), 0);
        assert_eq!(tag.without(Tag::KNOWN).generation(), u32::MAX >> 6);
    }
}
