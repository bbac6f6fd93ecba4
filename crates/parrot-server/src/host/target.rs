//! What an event is about, and the layout of the queue's tokens.

use std::fmt;
use std::num::NonZeroU32;

use parrot_kqueue::Token;

/// Names a connection while it is open. A slot that is used again has another generation, and only after four billion
/// connections the same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
// With the alignment of the token that it comes in, it is moved as one number. That saves a message 15 instructions.
#[repr(align(8))]
pub struct ConnectionKey {
    pub(crate) slot: u32,
    pub(crate) generation: NonZeroU32,
}

impl fmt::Debug for ConnectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionKey({}v{})", self.slot, self.generation)
    }
}

/// What the queue was asked to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The listener with this index.
    Listener(usize),
    /// The UDP socket with this index.
    Datagrams(usize),
    /// The signal with this index in [`Signals::all`](super::Signals).
    Signal(usize),
    /// The waker that other threads hold.
    Wake,
    /// A connection, which may be closed by now.
    Connection(ConnectionKey),
}

/// A connection's generation is in the upper half of its token and is never 0, so everything else has the numbers of
/// the lower half: first the listeners, then the UDP sockets, then the signals, then the waker.
const FIRST_DATAGRAMS: usize = 1 << 30;
const FIRST_SIGNAL: usize = 1 << 31;
const WAKE: usize = u32::MAX as usize;

impl From<Target> for Token {
    #[inline]
    fn from(target: Target) -> Token {
        const { assert!(usize::BITS >= u64::BITS, "a token holds a slot and a generation of 32 bits each") };
        Token(match target {
            Target::Listener(index) => index,
            Target::Datagrams(index) => FIRST_DATAGRAMS + index,
            Target::Signal(index) => FIRST_SIGNAL + index,
            Target::Wake => WAKE,
            Target::Connection(key) => (key.generation.get() as usize) << 32 | key.slot as usize,
        })
    }
}

impl From<Token> for Target {
    #[inline]
    fn from(Token(number): Token) -> Target {
        if let Some(generation) = NonZeroU32::new((number >> 32) as u32) {
            return Target::Connection(ConnectionKey { slot: number as u32, generation });
        }
        match number {
            ..FIRST_DATAGRAMS => Target::Listener(number),
            FIRST_DATAGRAMS..FIRST_SIGNAL => Target::Datagrams(number - FIRST_DATAGRAMS),
            FIRST_SIGNAL..WAKE => Target::Signal(number - FIRST_SIGNAL),
            _ => Target::Wake,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_converts_back_to_its_target() {
        let numbers = [1, 2, u32::MAX].map(|number| NonZeroU32::new(number).unwrap());
        let connections = numbers.map(|generation| ConnectionKey { slot: u32::MAX - generation.get(), generation });
        let connections = connections.map(Target::Connection);
        let others = [Target::Listener(0), Target::Listener(7), Target::Datagrams(0), Target::Datagrams(7)];
        let others = others.into_iter().chain([Target::Signal(0), Target::Signal(4), Target::Wake]);
        for target in others.chain(connections) {
            assert_eq!(Target::from(Token::from(target)), target);
        }
    }
}
