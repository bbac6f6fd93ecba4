//! What is promised, and so what can be found broken.

use std::fmt;

/// A promise that a run found broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Promise {
    /// Each peer gets the bytes it sent, in order, once.
    Bytes,
    /// A connection ends for a reason, with nothing owed and after its end of stream.
    Close,
    /// The write side is shut when all is done and not before.
    ShutDown,
    /// Nothing is called that no event asked for.
    Provoked,
    /// A turn that does nothing is followed by a wait.
    Busy,
    /// Who is ready is served within a few turns.
    Fair,
    /// The loop does not wait while there is something to do.
    Awake,
    /// Output a connection, buffers in all, the loop's own lists.
    Memory,
    /// Calls a connection, bytes, accepts and leftovers a turn.
    Work,
    /// The limit of connections.
    Limit,
    /// Descriptors are closed once, and taken out of the queue before.
    Descriptors,
    /// Counters say what happened.
    Counters,
    /// Each message is handed to the log, as it was received.
    Log,
    /// Idle connections end in time, and not before a send was tried.
    Idle,
    /// The time is read after each wait.
    Clock,
    /// A drain ends in time, and takes with it what waits in the backlog.
    Drain,
    /// The server ends when it was told to, and how it was told to.
    Ended,
    /// It ends at all.
    Endless,
}

/// A promise that was broken, and how.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Which one.
    pub promise: Promise,
    /// What was seen.
    pub seen: String,
    /// In which turn.
    pub turn: u64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} broken in turn {}: {}", self.promise, self.turn, self.seen)
    }
}
