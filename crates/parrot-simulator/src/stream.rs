//! The bytes that peers send. Each byte is a function of the peer and the offset, so that no stream has to be stored.

use std::sync::LazyLock;

/// A prime, so that bytes that are off by any usual size do not match.
const PERIOD: usize = 8191;

/// Two periods of noise, so that any piece of up to one period is contiguous.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut dice = crate::dice::Dice::seeded(1512);
    let period: Vec<u8> = (0..PERIOD).map(|_| dice.below(256) as u8).collect();
    period.repeat(2)
});

/// The next `length` bytes of `peer`'s stream from `offset` on, in pieces.
fn pieces(peer: usize, offset: u64, length: usize) -> impl Iterator<Item = &'static [u8]> {
    let start = (peer * 1031 + (offset % PERIOD as u64) as usize) % PERIOD;
    let period = &NOISE[start..start + PERIOD];
    (0..length).step_by(PERIOD).map(move |done| &period[..PERIOD.min(length - done)])
}

/// Fills `space` with `peer`'s bytes from `offset` on.
pub(crate) fn fill(peer: usize, offset: u64, space: &mut [u8]) {
    let length = space.len();
    for (to, from) in space.chunks_mut(PERIOD).zip(pieces(peer, offset, length)) {
        to.copy_from_slice(from);
    }
}

/// Whether `bytes` are `peer`'s bytes from `offset` on.
pub(crate) fn matches(peer: usize, offset: u64, bytes: &[u8]) -> bool {
    bytes.chunks(PERIOD).zip(pieces(peer, offset, bytes.len())).all(|(left, right)| left == right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled_bytes_match_only_at_their_offset() {
        let mut bytes = vec![0; 3 * PERIOD + 7];
        fill(3, 12_345, &mut bytes);
        assert!(matches(3, 12_345, &bytes));
        assert!(matches(3, 12_346, &bytes[1..]));
        assert!(!matches(3, 12_346, &bytes));
        assert!(!matches(4, 12_345, &bytes));
    }
}
