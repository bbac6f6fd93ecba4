//! How long each message is.

use std::ops::Range;

use crate::plan::Plan;
use crate::random::mixed;

/// What the sizes of a run are drawn with. It is the same for every run, so that all send the same messages.
const SEED: u64 = 0x0000_7369_7a65_735f;

/// The sizes of a plan's messages, in bytes.
///
/// The size of a message is a function of its number and that of its connection, so none has to be stored to know where
/// an answer ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    least: usize,
    /// How many sizes there are.
    choices: u64,
}

impl Sizes {
    pub(crate) fn of(plan: &Plan) -> Sizes {
        let most = plan.size_to.unwrap_or(plan.size);
        Sizes { least: plan.size, choices: most.saturating_sub(plan.size) as u64 + 1 }
    }

    #[cfg(test)]
    pub(crate) fn between(least: usize, most: usize) -> Sizes {
        Sizes { least, choices: (most - least) as u64 + 1 }
    }

    #[cfg(test)]
    pub(crate) fn fixed_at(size: usize) -> Sizes {
        Sizes::between(size, size)
    }

    /// The longest size.
    pub(crate) fn most(self) -> usize {
        self.least + (self.choices - 1) as usize
    }

    /// The size of every message, if it is the same for all.
    pub(crate) fn fixed(self) -> Option<usize> {
        (self.choices == 1).then_some(self.least)
    }

    /// The size of message number `message` of connection number `connection`.
    pub(crate) fn size(self, connection: usize, message: u64) -> usize {
        if self.choices == 1 {
            return self.least;
        }
        let word = mixed(mixed(SEED, connection as u64), message);
        // The high half of the product is evenly spread over the choices (Lemire 2019).
        self.least + ((u128::from(word) * u128::from(self.choices)) >> 64) as usize
    }

    /// Bytes in these messages of connection number `connection`.
    pub(crate) fn total(self, connection: usize, messages: Range<u64>) -> usize {
        match self.fixed() {
            Some(size) => (messages.end - messages.start) as usize * size,
            None => self.sum(connection, messages),
        }
    }

    /// Kept out of the way of messages of one size, which need no more than a product.
    #[inline(never)]
    fn sum(self, connection: usize, messages: Range<u64>) -> usize {
        messages.map(|message| self.size(connection, message)).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn sizes(size: usize, size_to: Option<usize>) -> Sizes {
        Sizes::of(&Plan { size, size_to, ..Plan::new(SocketAddr::from(([127, 0, 0, 1], 1512))) })
    }

    #[test]
    fn sizes_are_spread_evenly_from_end_to_end() {
        let sizes = sizes(3, Some(12));
        let mut counts = [0_u32; 10];
        for connection in 0..100 {
            for message in 0..1000 {
                counts[sizes.size(connection, message) - 3] += 1;
            }
        }
        // Each of 100,000 messages has each of 10 sizes with the same chance. Five deviations are 474.
        assert!(counts.iter().all(|count| (9526..=10_474).contains(count)), "{counts:?}");
    }

    #[test]
    fn messages_of_one_size_have_that_size() {
        for sizes in [sizes(64, None), sizes(64, Some(64))] {
            assert_eq!((sizes.fixed(), sizes.most(), sizes.total(3, 5..9)), (Some(64), 64, 256));
        }
    }

    #[test]
    fn a_total_is_the_sum_of_its_messages() {
        let sizes = sizes(1, Some(5000));
        assert_eq!(sizes.total(7, 3..6), (3..6).map(|message| sizes.size(7, message)).sum::<usize>());
        assert_eq!((sizes.fixed(), sizes.most()), (None, 5000));
    }

    #[test]
    fn sizes_differ_between_connections_and_not_between_runs() {
        let of = |connection| (0..6).map(|message| sizes(64, Some(4096)).size(connection, message)).collect::<Vec<_>>();
        assert_ne!(of(0), of(1));
        assert_eq!(of(0), of(0));
    }
}
