//! What names a connection, to the loop and in the queue's tokens.

use parrot_kqueue::Token;
use slotmap::{Key as _, KeyData, new_key_type};

new_key_type! {
    /// Names a connection for as long as it is open; never used again for another (slot and generation).
    pub(crate) struct ConnectionKey;
}

/// The token of a connection: its key. The generation stands in the upper 32 bits and is never 0, so that smaller
/// numbers are free for listeners.
impl From<ConnectionKey> for Token {
    fn from(key: ConnectionKey) -> Token {
        const { assert!(usize::BITS >= u64::BITS, "a token holds a slot and a generation of 32 bits each") };
        Token(key.data().as_ffi() as usize)
    }
}

impl From<Token> for ConnectionKey {
    fn from(token: Token) -> ConnectionKey {
        KeyData::from_ffi(token.0 as u64).into()
    }
}
