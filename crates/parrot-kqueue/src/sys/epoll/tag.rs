//! The state of a registration of Read or Write.

use crate::change::Mode;

/// Mode and flags in the low bits, a generation above them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tag(u32);

impl Tag {
    const MODE: u32 = 0b111;
    /// How many bits mode and flags take below the generation.
    const FLAGS: u32 = 6;

    /// The registration exists, enabled or not.
    pub(super) const PRESENT: Tag = Tag(1 << 3);
    /// The registration exists and its events are wanted.
    pub(super) const ENABLED: Tag = Tag(1 << 4);
    /// The kernel's set has an entry for it, if the descriptor was not closed since.
    pub(super) const KNOWN: Tag = Tag(1 << 5);

    pub(super) fn new(generation: u32, mode: Mode) -> Self {
        Tag(generation << Self::FLAGS | u32::from(mode.bits()))
    }

    pub(super) fn mode(self) -> Mode {
        Mode::from_bits((self.0 & Self::MODE) as u8)
    }

    /// Distinguishes a registration from earlier ones of the same descriptor number. It has 26 bits and wraps.
    pub(super) fn generation(self) -> u32 {
        self.0 >> Self::FLAGS
    }

    pub(super) fn next_generation(self) -> u32 {
        self.generation().wrapping_add(1) & (u32::MAX >> Self::FLAGS)
    }

    pub(super) fn has(self, flag: Tag) -> bool {
        self.0 & flag.0 == flag.0
    }

    pub(super) fn with(self, flag: Tag) -> Self {
        Tag(self.0 | flag.0)
    }

    pub(super) fn without(self, flag: Tag) -> Self {
        Tag(self.0 & !flag.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
