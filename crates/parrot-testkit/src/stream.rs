//! Bytes that are known by their position, and random numbers that are the same in every run.

/// Random numbers that are the same in every run: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

/// What separates two numbers of SplitMix64 before they are mixed.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// The numbers of this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Any number.
    #[allow(clippy::should_implement_trait, reason = "there is always another one")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mixed(self.0)
    }

    /// A number from 0 to below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

fn mixed(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// An endless stream of random bytes, known by its seed. A receiver can check any piece of it without keeping the rest.
#[derive(Debug, Clone, Copy)]
pub struct Pattern(pub u64);

impl Pattern {
    /// Fills `bytes` with the stream from `position` on.
    pub fn fill(self, position: u64, bytes: &mut [u8]) {
        let mut position = position;
        let mut rest = bytes;
        while !rest.is_empty() {
            let word = mixed(self.0.wrapping_add((position / 8).wrapping_mul(GAMMA))).to_le_bytes();
            let (_, word) = word.split_at((position % 8) as usize);
            let (now, later) = rest.split_at_mut(word.len().min(rest.len()));
            now.copy_from_slice(word.split_at(now.len()).0);
            position += now.len() as u64;
            rest = later;
        }
    }

    /// The first `length` bytes of the stream.
    pub fn bytes(self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill(0, &mut bytes);
        bytes
    }

    /// The first position from `position` on where `bytes` differ from the stream.
    pub fn differs(self, position: u64, bytes: &[u8]) -> Option<u64> {
        let mut expected = [0; 4096];
        let mut position = position;
        for piece in bytes.chunks(expected.len()) {
            let (expected, _) = expected.split_at_mut(piece.len());
            self.fill(position, expected);
            if let Some(at) = piece.iter().zip(expected.iter()).position(|(byte, expected)| byte != expected) {
                return Some(position + at as u64);
            }
            position += piece.len() as u64;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_the_same_however_it_is_cut() {
        let mut whole = [0; 100];
        Pattern(7).fill(3, &mut whole);
        for cut in 0..whole.len() {
            let mut parts = [0; 100];
            let (first, second) = parts.split_at_mut(cut);
            Pattern(7).fill(3, first);
            Pattern(7).fill(3 + cut as u64, second);
            assert_eq!(parts, whole);
        }
    }

    #[test]
    fn one_wrong_byte_is_found_where_it_is() {
        let mut bytes = [0; 10_000];
        Pattern(1).fill(5, &mut bytes);
        assert_eq!(Pattern(1).differs(5, &bytes), None);
        bytes[7_777] ^= 1;
        assert_eq!(Pattern(1).differs(5, &bytes), Some(7_782));
    }
}
