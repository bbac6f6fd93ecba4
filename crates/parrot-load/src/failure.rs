//! Kinds of failure, and how often each happened.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ends::Ends;

/// Why a connection was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It could not be opened, because it was refused or unreachable, or ports or descriptors ran out.
    Connect,
    /// The bytes that came back are not those that were sent.
    Mismatch,
    /// More bytes came back than were sent.
    Unasked,
    /// The server did not send the line first that was to be skipped, or too long a one.
    Greeting,
    /// The server ended the stream while an answer was due, or closed a connection that was to stay open.
    Closed,
    /// The server reset the connection.
    Reset,
    /// An answer, or opening the connection, took longer than the plan's timeout.
    Timeout,
    /// The system refused to send or receive for another reason.
    System,
}

/// How often each kind of failure happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// Connections that could not be opened.
    pub connect: u64,
    /// Answers with other bytes than were sent.
    pub mismatch: u64,
    /// Connections on which more bytes came back than were sent.
    pub unasked: u64,
    /// Connections on which no line came first, or none that ended within 4,096 bytes, if one was to be skipped.
    pub greeting: u64,
    /// Streams that ended too early.
    pub closed: u64,
    /// Resets.
    pub reset: u64,
    /// Answers or connections that took too long.
    pub timeout: u64,
    /// Other errors of the system.
    pub system: u64,
    /// How connections ended, and after how many bytes.
    #[serde(default)]
    pub ends: Ends,
}

impl Failures {
    /// Counts one failure.
    pub(crate) fn count(&mut self, failure: Failure) {
        *match failure {
            Failure::Connect => &mut self.connect,
            Failure::Mismatch => &mut self.mismatch,
            Failure::Unasked => &mut self.unasked,
            Failure::Greeting => &mut self.greeting,
            Failure::Closed => &mut self.closed,
            Failure::Reset => &mut self.reset,
            Failure::Timeout => &mut self.timeout,
            Failure::System => &mut self.system,
        } += 1;
    }

    /// Adds another thread's failures to these.
    pub(crate) fn add(&mut self, other: &Failures) {
        self.connect = self.connect.saturating_add(other.connect);
        self.mismatch = self.mismatch.saturating_add(other.mismatch);
        self.unasked = self.unasked.saturating_add(other.unasked);
        self.greeting = self.greeting.saturating_add(other.greeting);
        self.closed = self.closed.saturating_add(other.closed);
        self.reset = self.reset.saturating_add(other.reset);
        self.timeout = self.timeout.saturating_add(other.timeout);
        self.system = self.system.saturating_add(other.system);
        self.ends.add(&other.ends);
    }

    /// The sum over all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_kind().iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    fn by_kind(&self) -> [(&'static str, u64); 8] {
        [
            ("could not connect", self.connect),
            ("with wrong bytes", self.mismatch),
            ("with extra bytes", self.unasked),
            ("without a greeting", self.greeting),
            ("closed too early", self.closed),
            ("reset", self.reset),
            ("timed out", self.timeout),
            ("system error", self.system),
        ]
    }
}

/// `none`, or the kinds that happened: `3 timed out, 1 reset`.
impl fmt::Display for Failures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let happened: Vec<String> = (self.by_kind().iter().filter(|(_, count)| *count > 0))
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        if happened.is_empty() { formatter.write_str("none") } else { formatter.write_str(&happened.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kinds_that_happened_are_listed() {
        let mut failures = Failures::default();
        assert_eq!(failures.to_string(), "none");
        failures.count(Failure::Timeout);
        failures.count(Failure::Timeout);
        failures.count(Failure::Mismatch);
        assert_eq!(failures.to_string(), "1 with wrong bytes, 2 timed out");
        assert_eq!(failures.total(), 3);
    }
}
