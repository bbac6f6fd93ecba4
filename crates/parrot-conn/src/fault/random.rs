//! Random numbers that depend on a seed alone.

/// What separates two numbers before they are mixed.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014). It is
/// small, and its numbers are the same on every system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Random(u64);

impl Random {
    /// The numbers for one purpose of one connection or datagram. What is drawn for another purpose changes none of
    /// them.
    pub(super) fn of(seed: u64, purpose: u64, number: u64) -> Random {
        Random(mixed(mixed(mixed(seed).wrapping_add(purpose)).wrapping_add(number)))
    }

    /// Any number.
    pub(super) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        finalized(self.0)
    }

    /// A number below `end`, or 0 if there is none. With an `end` of 64 bits some are likelier than others by 2⁻⁶⁴.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(end)) >> 64) as u64
    }
}

/// Spreads neighbouring numbers over all numbers.
fn mixed(number: u64) -> u64 {
    finalized(number.wrapping_add(GAMMA))
}

fn finalized(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_numbers_are_those_of_splitmix64() {
        // Published for seed 1234567 (rosettacode.org, "Pseudo-random numbers/Splitmix64").
        let mut random = Random(1_234_567);
        let numbers = [random.draw(), random.draw(), random.draw()];
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn no_two_purposes_share_their_numbers() {
        let first = |seed, purpose, number| Random::of(seed, purpose, number).draw();
        let triples =
            (0..16).flat_map(|seed| (0..16).flat_map(move |purpose| (0..16).map(move |n| (seed, purpose, n))));
        let all: HashSet<u64> = triples.map(|(seed, purpose, number)| first(seed, purpose, number)).collect();
        assert_eq!(all.len(), 16 * 16 * 16);
    }

    #[test]
    fn numbers_below_an_end_cover_all_of_them() {
        let mut random = Random::of(1512, 0, 0);
        let drawn: HashSet<u64> = (0..200).map(|_| random.below(7)).collect();
        assert_eq!(drawn, (0..7).collect());
        assert_eq!((random.below(1), random.below(0)), (0, 0));
    }
}
