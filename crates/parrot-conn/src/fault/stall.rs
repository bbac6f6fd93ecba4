//! A time in which nothing is received or sent.

use std::time::Duration;

/// The one stall of a connection, after a number of bytes.
#[derive(Debug)]
pub(super) struct Stall {
    after: u64,
    length: Option<Duration>,
    /// When it began.
    begun: Option<Duration>,
}

/// What a stall does at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stalled {
    /// It has not begun, and this many bytes leave before it does.
    Before(u64),
    /// It lasts until then, or for ever.
    Until(Option<Duration>),
    /// It is over.
    Over,
}

impl Stall {
    pub(super) fn new(after: u64, length: Option<Duration>) -> Stall {
        let begun = (after == 0).then_some(Duration::ZERO);
        Stall { after, length, begun }
    }

    /// Records that the connection has sent `sent` bytes in all.
    pub(super) fn sent(&mut self, sent: u64, now: Duration) {
        if sent >= self.after {
            self.begun.get_or_insert(now);
        }
    }

    /// What it does now, when the connection has sent `sent` bytes in all.
    pub(super) fn at(&self, sent: u64, now: Duration) -> Stalled {
        let Some(begun) = self.begun else { return Stalled::Before(self.after.saturating_sub(sent)) };
        match self.length.map(|length| begun.saturating_add(length)) {
            Some(end) if end <= now => Stalled::Over,
            end => Stalled::Until(end),
        }
    }
}
