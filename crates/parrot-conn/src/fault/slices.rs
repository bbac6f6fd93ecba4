//! Bytes that leave in small pieces.

use std::num::NonZeroU32;
use std::time::Duration;

use super::random::Random;

/// The pieces that a connection's bytes leave in.
#[derive(Debug)]
pub(super) struct Slices {
    least: u32,
    most: u32,
    delay: Duration,
    random: Random,
    /// What is left of the piece that is on its way.
    left: usize,
    /// When the next piece may leave.
    next: Duration,
}

impl Slices {
    pub(super) fn new(least: NonZeroU32, most: NonZeroU32, delay: Duration, random: Random) -> Slices {
        Slices { least: least.get(), most: most.get().max(least.get()), delay, random, left: 0, next: Duration::ZERO }
    }

    /// How many of these bytes may leave at this time. Fewer than a piece become a smaller one.
    pub(super) fn allows(&mut self, bytes: usize, now: Duration) -> usize {
        if self.left == 0 && self.next <= now {
            let more = self.random.below(u64::from(self.most - self.least) + 1);
            let piece = u64::from(self.least) + more;
            self.left = usize::try_from(piece).unwrap_or(usize::MAX).min(bytes);
        }
        self.left.min(bytes)
    }

    /// When the next piece may leave.
    pub(super) fn next(&self) -> Duration {
        self.next
    }

    pub(super) fn sent(&mut self, n: usize, now: Duration) {
        self.left = self.left.saturating_sub(n);
        if self.left == 0 {
            self.next = now.saturating_add(self.delay);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slices(least: u32, most: u32, delay: Duration) -> Slices {
        let size = |n| NonZeroU32::new(n).unwrap();
        Slices::new(size(least), size(most), delay, Random::of(1512, 0, 0))
    }

    #[test]
    fn every_size_of_a_range_comes() {
        let mut slices = slices(1, 7, Duration::ZERO);
        let mut came = [false; 8];
        for _ in 0..200 {
            let n = slices.allows(100, Duration::ZERO);
            came[n] = true;
            slices.sent(n, Duration::ZERO);
        }
        assert_eq!(came, [false, true, true, true, true, true, true, true]);
    }

    #[test]
    fn a_piece_that_was_cut_short_is_completed_at_once() {
        let mut slices = slices(10, 10, Duration::from_millis(5));
        assert_eq!(slices.allows(100, Duration::ZERO), 10);
        slices.sent(4, Duration::ZERO);
        assert_eq!(slices.allows(96, Duration::ZERO), 6);
        slices.sent(6, Duration::from_millis(1));
        assert_eq!((slices.allows(90, Duration::from_millis(1)), slices.next()), (0, Duration::from_millis(6)));
        assert_eq!(slices.allows(90, Duration::from_millis(6)), 10);
    }

    #[test]
    fn the_end_of_a_message_is_a_piece() {
        let mut slices = slices(10, 10, Duration::ZERO);
        assert_eq!(slices.allows(3, Duration::ZERO), 3);
        slices.sent(3, Duration::ZERO);
        assert_eq!(slices.allows(100, Duration::ZERO), 10);
    }
}
