//! What an event is about, and the layout of the queue's tokens.

use parrot_kqueue::Token;
use slotmap::{Key as _, KeyData, new_key_type};

new_key_type! {
    /// Names a connection while it is open. Slot and generation together are never used for another connection.
    pub struct ConnectionKey;
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
            Target::Connection(key) => key.data().as_ffi() as usize,
        })
    }
}

impl From<Token> for Target {
    #[inline]
    fn from(Token(number): Token) -> Target {
        match number {
            ..FIRST_DATAGRAMS => Target::Listener(number),
            FIRST_DATAGRAMS..FIRST_SIGNAL => Target::Datagrams(number - FIRST_DATAGRAMS),
            FIRST_SIGNAL..WAKE => Target::Signal(number - FIRST_SIGNAL),
            WAKE => Target::Wake,
            _ => Target::Connection(KeyData::from_ffi(number as u64).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use slotmap::SlotMap;

    use super::*;

    #[test]
    fn a_token_converts_back_to_its_target() {
        let mut connections = SlotMap::<ConnectionKey, ()>::with_key();
        let first = connections.insert(());
        connections.remove(first);
        let second = connections.insert(());
        let connections = [first, second].map(Target::Connection);
        let others = [Target::Listener(0), Target::Listener(7), Target::Datagrams(0), Target::Datagrams(7)];
        let others = others.into_iter().chain([Target::Signal(0), Target::Signal(4), Target::Wake]);
        for target in others.chain(connections) {
            assert_eq!(Target::from(Token::from(target)), target);
        }
    }
}
