//! What a datagram says: which one it is, and bytes to check it by.
//!
//! It begins with its number in eight letters. The bytes after that are a run of the [pattern](crate::pattern) at a place
//! that depends on the socket and the number, so an answer that was changed, cut, mixed from two or meant for another
//! socket is detected.

use crate::pattern::{Pattern, Position};
use crate::sizes::Sizes;

/// Bytes of the number.
pub(crate) const NUMBER: usize = 8;
/// The least bytes in a datagram. Four bytes of the pattern leave one wrong datagram in 16 million undetected.
pub(crate) const LEAST: usize = NUMBER + 4;

/// The digits of a number, which no log format escapes, in the order of their values.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";

/// The number that begins datagram `number`. Numbers beyond 2^48, which no run reaches, begin again.
pub(crate) fn number(number: u64) -> [u8; NUMBER] {
    std::array::from_fn(|place| {
        let digit = number >> (6 * (NUMBER - 1 - place)) & 63;
        DIGITS.get(digit as usize).copied().unwrap_or_default()
    })
}

/// The bytes after the number, in a datagram that socket number `socket` sends.
pub(crate) fn check(pattern: &Pattern, socket: usize, number: u64, sizes: Sizes) -> &[u8] {
    pattern.run(Position::of_datagram(socket, number), sizes.size(socket, number) - NUMBER)
}

/// The number of the datagram that socket number `socket` is answered with, or `None` if it is not as it was sent.
pub(crate) fn read(datagram: &[u8], pattern: &Pattern, socket: usize, sizes: Sizes) -> Option<u64> {
    let (digits, rest) = datagram.split_first_chunk::<NUMBER>()?;
    let mut number = 0;
    for digit in digits {
        number = number << 6 | u64::from(value(*digit)?);
    }
    (rest == check(pattern, socket, number, sizes)).then_some(number)
}

/// The value of a digit.
fn value(digit: u8) -> Option<u8> {
    Some(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'-' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(pattern: &Pattern, socket: usize, of: u64, sizes: Sizes) -> Vec<u8> {
        [&number(of)[..], check(pattern, socket, of, sizes)].concat()
    }

    #[test]
    fn a_datagram_is_read_as_it_was_written() {
        for size in [LEAST, 100, 65_527] {
            let (pattern, sizes) = (Pattern::new(size), Sizes::fixed_at(size));
            for number in [0, 1, 63, 64, 1_000_000, (1 << 48) - 1] {
                let datagram = datagram(&pattern, 3, number, sizes);
                assert_eq!((datagram.len(), read(&datagram, &pattern, 3, sizes)), (size, Some(number)));
            }
        }
    }

    #[test]
    fn a_datagram_that_was_changed_is_detected() {
        let pattern = Pattern::new(40);
        let sizes = Sizes::fixed_at(40);
        let sent = datagram(&pattern, 3, 12_345, sizes);
        for place in 0..40 {
            let mut changed = sent.clone();
            changed[place] ^= 1;
            assert_eq!(read(&changed, &pattern, 3, sizes), None, "byte {place}");
            assert_eq!(read(&sent[..place], &pattern, 3, sizes), None, "cut to {place}");
        }
        assert_eq!(read(&[&sent[..], b"x"].concat(), &pattern, 3, sizes), None);
        assert_eq!(
            read(&[&sent[..20], &datagram(&pattern, 3, 12_346, sizes)[20..]].concat(), &pattern, 3, sizes),
            None
        );
    }

    #[test]
    fn a_datagram_of_another_size_is_detected() {
        let (pattern, sizes) = (Pattern::new(400), Sizes::between(LEAST, 400));
        for number in 0..100 {
            let sent = datagram(&pattern, 3, number, sizes);
            assert_eq!(read(&sent, &pattern, 3, sizes), Some(number));
            assert_eq!(read(&sent[..sent.len() - 1], &pattern, 3, sizes), None);
            assert_eq!(read(&[&sent[..], b"x"].concat(), &pattern, 3, sizes), None);
        }
    }

    #[test]
    fn a_datagram_for_another_socket_is_detected() {
        let (pattern, sizes) = (Pattern::new(LEAST), Sizes::fixed_at(LEAST));
        for socket in 1..10_000 {
            let sent = datagram(&pattern, socket, 7, sizes);
            assert_eq!(read(&sent, &pattern, socket - 1, sizes), None);
        }
    }
}
