//! The promises that a run checks.

use std::fmt;

/// A promise of the server that a run checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Promise {
    /// Each peer gets the bytes it sent once, in order, after its greeting and with a prefix before each message.
    Bytes,
    /// A connection closes for a reason, with nothing owed, after its end of stream.
    Close,
    /// The write side is shut down when everything is sent, and not before.
    ShutDown,
    /// The loop makes no call that no event asked for.
    Provoked,
    /// If a turn did nothing, the next wait blocks.
    Busy,
    /// A connection that is ready is served within a few turns.
    Fair,
    /// The loop does not wait while there is work.
    Awake,
    /// Bounds hold for the output of a connection, the buffers of all and the loop's own lists.
    Memory,
    /// Bounds hold for the calls and bytes of a connection, the accepts and the leftovers in a turn.
    Work,
    /// The limit of connections holds.
    Limit,
    /// Descriptors are taken out of the queue and then closed once.
    Descriptors,
    /// The counters match what happened.
    Counters,
    /// Each message reaches the log as it was received, and nothing else does.
    Log,
    /// Idle connections close in time, and not before a send was tried.
    Idle,
    /// The loop reads the time after each wait.
    Clock,
    /// A drain ends in time and accepts what waits in the backlog.
    Drain,
    /// Only permitted peers send a PROXY header. It is received without the bytes behind it, and awaited until its timeout.
    Header,
    /// Each datagram that is to be answered goes back whole, once, in the turn in which it was received. No other one does.
    Answers,
    /// When a drain begins, a socket that was given to the server is closed. What waits in it is left to other holders.
    Given,
    /// The server ends when and how it is told to.
    Ended,
    /// The server ends at all.
    Endless,
}

/// A broken promise.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The promise that was broken.
    pub promise: Promise,
    /// What the check saw.
    pub seen: String,
    /// The turn in which it was broken.
    pub turn: u64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} broken in turn {}: {}", self.promise, self.turn, self.seen)
    }
}
