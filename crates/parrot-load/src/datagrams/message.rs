//! What a datagram says: which one it is, and bytes to check it by.
//!
//! It begins with its number in eight letters. The bytes after that are a run of the [pattern](crate::pattern) at a place
//! that depends on the socket and the number, so an answer that was changed, cut, mixed from two or meant for another
//! socket is detected.

use crate::pattern::{Pattern, Position};

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

/// The bytes after the number, in a datagram of `size` bytes that socket number `socket` sends.
pub(crate) fn check(pattern: &Pattern, socket: usize, number: u64, size: usize) -> &[u8] {
    pattern.run(Position::of_datagram(socket, number), size - NUMBER)
}

/// The number of the datagram that socket number `socket` is answered with, or `None` if it is not as it was sent.
pub(crate) fn read(datagram: &[u8], pattern: &Pattern, socket: usize, size: usize) -> Option<u64> {
    let (digits, rest) = datagram.split_first_chunk::<NUMBER>().filter(|_| datagram.len() == size)?;
    let mut number = 0;
    for digit in digits {
        number = number << 6 | u64::from(value(*digit)?);
    }
    (rest == check(pattern, socket, number, size)).then_some(number)
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

    fn datagram(pattern: &Pattern, socket: usize, of: u64, size: usize) -> Vec<u8> {
        [&number(of)[..], check(pattern, socket, of, size)].concat()
    }

    #[test]
    fn a_datagram_is_read_as_it_was_written() {
        for size in [LEAST, 100, 65_527] {
            let pattern = Pattern::new(size);
            for number in [0, 1, 63, 64, 1_000_000, (1 << 48) - 1] {
                let datagram = datagram(&pattern, 3, number, size);
                assert_eq!((datagram.len(), read(&datagram, &pattern, 3, size)), (size, Some(number)));
            }
        }
    }

    #[test]
    fn a_datagram_that_was_changed_is_detected() {
        let pattern = Pattern::new(40);
        let sent = datagram(&pattern, 3, 12_345, 40);
        for place in 0..40 {
            let mut changed = sent.clone();
            changed[place] ^= 1;
            assert_eq!(read(&changed, &pattern, 3, 40), None, "byte {place}");
            assert_eq!(read(&sent[..place], &pattern, 3, 40), None, "cut to {place}");
        }
        assert_eq!(read(&[&sent[..], b"x"].concat(), &pattern, 3, 40), None);
        assert_eq!(read(&[&sent[..20], &datagram(&pattern, 3, 12_346, 40)[20..]].concat(), &pattern, 3, 40), None);
    }

    #[test]
    fn a_datagram_for_another_socket_is_detected() {
        let pattern = Pattern::new(LEAST);
        for socket in 1..10_000 {
            let sent = datagram(&pattern, socket, 7, LEAST);
            assert_eq!(read(&sent, &pattern, socket - 1, LEAST), None);
        }
    }
}
