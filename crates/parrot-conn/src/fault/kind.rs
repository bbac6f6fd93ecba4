//! The faults that can be asked for.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use super::share::{Chances, Share};

/// A way to misbehave, with its parameters. The words are those of toxiproxy and tc-netem.
///
/// The bytes that a fault counts are those that the connection has sent, which includes a greeting and prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes of each message leave this much later, in order. So does each datagram, and datagrams can overtake.
    Latency {
        /// How much later.
        delay: Chances<Duration>,
        /// How much it differs from that at most, up or down. A delay never becomes negative.
        jitter: Duration,
    },
    /// Bytes leave no faster than so many per second, on each connection.
    Bandwidth(NonZeroU64),
    /// Bytes leave in small pieces.
    Slice {
        /// The smallest piece, in bytes. The last piece of a message can be smaller.
        least: NonZeroU32,
        /// The largest.
        most: NonZeroU32,
        /// The time between two pieces.
        delay: Duration,
    },
    /// The connection ends in the orderly way after this many bytes.
    LimitData(u64),
    /// There is no answer at all. The connection ends in the orderly way after this time, or never. The end of the peer's
    /// stream does not end it before.
    Timeout(Option<Duration>),
    /// The connection ends in the orderly way after this time.
    Lifetime(Duration),
    /// The connection is reset.
    Reset(After),
    /// Nothing is received or sent, so that the peer cannot go on either.
    Stall {
        /// How many bytes are sent before.
        after: u64,
        /// How long it lasts. `None` means for ever.
        length: Option<Duration>,
    },
    /// An orderly end comes this much later.
    SlowClose(Duration),
    /// After the first answer the stream ends, before the peer ends its own. What the peer sends then is discarded.
    HalfCloseFirst,
    /// The first connections, so many, are reset at once.
    Refuse(u64),
    /// A connection is accepted this much later.
    AcceptDelay(Chances<Duration>),
    /// So many of the datagrams get no answer.
    Loss(Share),
    /// So many of the datagrams are answered twice.
    Duplicate(Share),
    /// So many of the answers to datagrams leave behind the one after them.
    Reorder(Share),
    /// In so many of the answers to datagrams one bit is wrong.
    Corrupt(Share),
}

/// When something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// After this many bytes were sent.
    Bytes(u64),
    /// So long after the connection was accepted.
    Time(Duration),
}

/// A fault and how many connections have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultRule {
    /// What happens.
    pub fault: Fault,
    /// The share of the connections that it happens to. For the latency of datagrams this is a share of these.
    pub probability: Share,
}

impl From<Fault> for FaultRule {
    /// The fault on every connection.
    fn from(fault: Fault) -> FaultRule {
        FaultRule { fault, probability: Share::ALL }
    }
}

/// The faults without their parameters, for statistics and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is the one of `Fault` with the same name")]
pub enum FaultKind {
    Latency,
    Bandwidth,
    Slice,
    LimitData,
    Timeout,
    Lifetime,
    Reset,
    Stall,
    SlowClose,
    HalfCloseFirst,
    Refuse,
    AcceptDelay,
    Loss,
    Duplicate,
    Reorder,
    Corrupt,
}

impl FaultKind {
    /// Every kind, in declaration order.
    pub const ALL: [FaultKind; 16] = [
        FaultKind::Latency,
        FaultKind::Bandwidth,
        FaultKind::Slice,
        FaultKind::LimitData,
        FaultKind::Timeout,
        FaultKind::Lifetime,
        FaultKind::Reset,
        FaultKind::Stall,
        FaultKind::SlowClose,
        FaultKind::HalfCloseFirst,
        FaultKind::Refuse,
        FaultKind::AcceptDelay,
        FaultKind::Loss,
        FaultKind::Duplicate,
        FaultKind::Reorder,
        FaultKind::Corrupt,
    ];

    /// The kind as the command line names it.
    pub fn as_str(self) -> &'static str {
        match self {
            FaultKind::Latency => "latency",
            FaultKind::Bandwidth => "bandwidth",
            FaultKind::Slice => "slice",
            FaultKind::LimitData => "limit-data",
            FaultKind::Timeout => "timeout",
            FaultKind::Lifetime => "lifetime",
            FaultKind::Reset => "reset",
            FaultKind::Stall => "stall",
            FaultKind::SlowClose => "slow-close",
            FaultKind::HalfCloseFirst => "half-close-first",
            FaultKind::Refuse => "refuse",
            FaultKind::AcceptDelay => "accept-delay",
            FaultKind::Loss => "loss",
            FaultKind::Duplicate => "duplicate",
            FaultKind::Reorder => "reorder",
            FaultKind::Corrupt => "corrupt",
        }
    }

    /// Whether it happens to a stream connection once that is accepted.
    pub fn is_of_streams(self) -> bool {
        self <= FaultKind::HalfCloseFirst
    }

    /// Whether it happens to datagrams.
    pub fn is_of_datagrams(self) -> bool {
        self == FaultKind::Latency || self >= FaultKind::Loss
    }

    /// Whether connections are chosen for it by a probability.
    pub fn has_probability(self) -> bool {
        self.is_of_streams() || self == FaultKind::AcceptDelay
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Fault {
    /// The fault without its parameters.
    pub fn kind(&self) -> FaultKind {
        match self {
            Fault::Latency { .. } => FaultKind::Latency,
            Fault::Bandwidth(_) => FaultKind::Bandwidth,
            Fault::Slice { .. } => FaultKind::Slice,
            Fault::LimitData(_) => FaultKind::LimitData,
            Fault::Timeout(_) => FaultKind::Timeout,
            Fault::Lifetime(_) => FaultKind::Lifetime,
            Fault::Reset(_) => FaultKind::Reset,
            Fault::Stall { .. } => FaultKind::Stall,
            Fault::SlowClose(_) => FaultKind::SlowClose,
            Fault::HalfCloseFirst => FaultKind::HalfCloseFirst,
            Fault::Refuse(_) => FaultKind::Refuse,
            Fault::AcceptDelay(_) => FaultKind::AcceptDelay,
            Fault::Loss(_) => FaultKind::Loss,
            Fault::Duplicate(_) => FaultKind::Duplicate,
            Fault::Reorder(_) => FaultKind::Reorder,
            Fault::Corrupt(_) => FaultKind::Corrupt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_once_and_in_order() {
        assert!(FaultKind::ALL.is_sorted_by(|one, next| one < next));
        let places = |kind: &FaultKind| {
            kind.is_of_streams() || kind.is_of_datagrams() || matches!(kind, FaultKind::Refuse | FaultKind::AcceptDelay)
        };
        assert!(FaultKind::ALL.iter().all(places));
    }
}
