//! How the server ended connections, and after how many bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::units::thousands;

/// The ends of connections that failed, by what the client saw. A server that misbehaves on request can be asserted by
/// these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// The server ended the stream (FIN).
    pub finished: Ended,
    /// The server reset the connection (RST).
    pub reset: Ended,
    /// An answer did not come in time.
    pub timeout: Ended,
}

/// Connections that ended in one way, and the bytes of answers that had come back on each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How many connections.
    pub connections: u64,
    /// The bytes on the one with the fewest. 0 without any.
    pub least_bytes: u64,
    /// The bytes on the one with the most.
    pub most_bytes: u64,
    /// The bytes on all of them together.
    pub bytes: u64,
}

impl Ends {
    /// Counts the end of a connection on which this many bytes came back. Other failures are no ends.
    pub(crate) fn count(&mut self, failure: Failure, bytes: u64) {
        let ended = match failure {
            Failure::Closed => &mut self.finished,
            Failure::Reset => &mut self.reset,
            Failure::Timeout => &mut self.timeout,
            _ => return,
        };
        ended.add(&Ended { connections: 1, least_bytes: bytes, most_bytes: bytes, bytes });
    }

    /// Adds another thread's ends to these.
    pub(crate) fn add(&mut self, other: &Ends) {
        self.finished.add(&other.finished);
        self.reset.add(&other.reset);
        self.timeout.add(&other.timeout);
    }

    fn by_kind(&self) -> impl Iterator<Item = (&'static str, Ended)> {
        let all = [("FIN", self.finished), ("RST", self.reset), ("timeout", self.timeout)];
        all.into_iter().filter(|(_, ended)| ended.connections > 0)
    }

    /// How many connections ended in one of these ways.
    pub(crate) fn connections(&self) -> u64 {
        self.by_kind().fold(0, |sum, (_, ended)| sum.saturating_add(ended.connections))
    }

    /// Whether no connection ended in one of these ways.
    pub(crate) fn are_none(&self) -> bool {
        self.connections() == 0
    }
}

impl Ended {
    fn add(&mut self, other: &Ended) {
        if other.connections == 0 {
            return;
        }
        self.least_bytes =
            if self.connections == 0 { other.least_bytes } else { self.least_bytes.min(other.least_bytes) };
        self.most_bytes = self.most_bytes.max(other.most_bytes);
        self.connections = self.connections.saturating_add(other.connections);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// The ways that happened: `3 by FIN after 10,240 bytes, 2 by RST after 5 to 900 bytes`.
impl fmt::Display for Ends {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (kind, Ended { connections, least_bytes, most_bytes, .. }) in self.by_kind() {
            let [connections, least, most] =
                [connections, least_bytes, most_bytes].map(|count| thousands(count as f64));
            write!(formatter, "{separator}{connections} by {kind} after {least}")?;
            if least != most {
                write!(formatter, " to {most}")?;
            }
            formatter.write_str(" bytes")?;
            separator = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_counted_by_kind_with_their_bytes() {
        let mut ends = Ends::default();
        for (failure, bytes) in [(Failure::Reset, 900), (Failure::Reset, 5), (Failure::Mismatch, 7)] {
            ends.count(failure, bytes);
        }
        let mut other = Ends::default();
        (0..3).for_each(|_| other.count(Failure::Closed, 10_240));
        ends.add(&other);
        assert_eq!(ends.to_string(), "3 by FIN after 10,240 bytes, 2 by RST after 5 to 900 bytes");
        assert_eq!(ends.reset, Ended { connections: 2, least_bytes: 5, most_bytes: 900, bytes: 905 });
        assert!(Ends::default().are_none() && !ends.are_none());
    }
}
