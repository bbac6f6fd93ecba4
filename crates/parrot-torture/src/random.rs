//! Numbers that look random and are the same in every run.

/// SplitMix64: good enough to choose sizes and to make bytes without a pattern.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// A number from 0 to below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

fn mixed(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// An endless stream of bytes, known by its seed: what a peer sends can be checked without being kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pattern(pub(crate) u64);

impl Pattern {
    /// The bytes from `position` on.
    pub(crate) fn fill(self, position: u64, bytes: &mut [u8]) {
        let mut position = position;
        let mut rest = bytes;
        while !rest.is_empty() {
            let word = mixed(self.0.wrapping_add((position / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15))).to_le_bytes();
            let (_, word) = word.split_at((position % 8) as usize);
            let (now, later) = rest.split_at_mut(word.len().min(rest.len()));
            now.copy_from_slice(word.split_at(now.len()).0);
            position += now.len() as u64;
            rest = later;
        }
    }

    /// The first position from `position` on where `bytes` are not those of the stream.
    pub(crate) fn differs(self, position: u64, bytes: &[u8]) -> Option<u64> {
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
