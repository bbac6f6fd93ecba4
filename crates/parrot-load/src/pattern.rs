//! The bytes that are sent, and so the bytes that must come back.
//!
//! Each byte of a connection's stream is a function of the connection and the position, so nothing has to be stored to
//! check an answer. A byte that was swallowed, repeated, changed or meant for another connection shifts the stream
//! against the expected one and is detected at once.

use crate::random::mixed;

/// Length after which a connection's bytes repeat. It is a prime, so that no message size, buffer size or power of two
/// divides it, and an answer that is one message late never matches.
const PERIOD: usize = 16_381;

/// Longest run of bytes returned at once, and so the longest single send.
const LONGEST: usize = 1 << 20;

/// What the bytes are drawn with. They are the same on every run and every system.
const SEED: u64 = 0x0050_6172_726f_7421;

/// A repeating table of printable bytes, long enough that any run of it lies in one piece.
///
/// The bytes are letters, digits and signs that no log format escapes, so that they cost a server that logs them no
/// more than text does.
#[derive(Debug)]
pub(crate) struct Pattern {
    bytes: Box<[u8]>,
    longest: usize,
}

impl Pattern {
    /// A table for runs of `wanted` bytes, up to 1 MiB.
    pub(crate) fn new(wanted: usize) -> Pattern {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
        let longest = wanted.clamp(1, LONGEST);
        let once: Vec<u8> = (0..PERIOD as u64)
            .map(|number| ALPHABET.get((mixed(SEED, number) & 63) as usize).copied().unwrap_or(b'.'))
            .collect();
        let bytes = once.iter().copied().cycle().take(PERIOD + longest).collect();
        Pattern { bytes, longest }
    }

    /// Up to `wanted` bytes of the stream from `position` on.
    pub(crate) fn run(&self, position: Position, wanted: usize) -> &[u8] {
        let start = position.0 as usize;
        let end = start + wanted.min(self.longest);
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// The place after `received`, or `None` if it differs from the stream from `position` on.
    pub(crate) fn check(&self, mut position: Position, received: &[u8]) -> Option<Position> {
        for piece in received.chunks(self.longest) {
            if self.run(position, piece.len()) != piece {
                return None;
            }
            position = position.after(piece.len());
        }
        Some(position)
    }
}

/// A place in a connection's stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Position(u32);

impl Position {
    /// Where the stream of connection number `connection` begins. Neighbours begin far apart.
    pub(crate) fn start_of(connection: usize) -> Position {
        const STRIDE: usize = 7919; // a prime, so that the first PERIOD connections all begin elsewhere
        Position(((connection % PERIOD) * STRIDE % PERIOD) as u32)
    }

    /// Where datagram `number` of socket number `socket` begins. The next one begins one byte later.
    pub(crate) fn of_datagram(socket: usize, number: u64) -> Position {
        Position::start_of(socket).after((number % PERIOD as u64) as usize)
    }

    /// The place `bytes` further on.
    pub(crate) fn after(self, bytes: usize) -> Position {
        Position(((self.0 as usize + bytes) % PERIOD) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first `count` bytes of a connection's stream, in runs of at most `step`.
    fn stream(pattern: &Pattern, connection: usize, count: usize, step: usize) -> Vec<u8> {
        let (mut position, mut bytes) = (Position::start_of(connection), Vec::new());
        while bytes.len() < count {
            let run = pattern.run(position, step.min(count - bytes.len()));
            position = position.after(run.len());
            bytes.extend_from_slice(run);
        }
        bytes
    }

    #[test]
    fn the_stream_is_the_same_however_it_is_cut() {
        let whole = stream(&Pattern::new(50_000), 3, 50_000, 50_000);
        for step in [1, 12, 4096, 16_381, 16_382] {
            assert_eq!(stream(&Pattern::new(step), 3, 50_000, step), whole, "in runs of {step}");
        }
        assert!(Pattern::new(12).check(Position::start_of(3), &whole).is_some());
    }

    #[test]
    fn a_swallowed_repeated_or_changed_byte_is_detected() {
        let pattern = Pattern::new(4096);
        let start = Position::start_of(0);
        let sent = stream(&pattern, 0, 64, 64);
        for place in 0..32 {
            let (mut swallowed, mut repeated, mut changed) = (sent.clone(), sent.clone(), sent.clone());
            swallowed.remove(place);
            repeated.insert(place, sent[place]);
            changed[place] ^= 1;
            assert!(pattern.check(start, &swallowed).is_none(), "swallowed at {place}");
            assert!(pattern.check(start, &repeated).is_none(), "repeated at {place}");
            assert!(pattern.check(start, &changed).is_none(), "changed at {place}");
        }
        assert_eq!(pattern.check(start, &sent), Some(start.after(64)));
    }

    #[test]
    fn messages_differ_from_the_next_and_from_a_neighbours() {
        let pattern = Pattern::new(12);
        for connection in 0..10_000 {
            let message = stream(&pattern, connection, 24, 12);
            assert_ne!(message[..12], message[12..]);
            assert_ne!(message[..12], stream(&pattern, connection + 1, 12, 12));
        }
    }
}
