//! A PROXY header on its way.

use std::net::SocketAddr;

use crate::headers::plan::{Fate, HeaderPlan};

/// A PROXY header on its way from a peer to the loop.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) plan: HeaderPlan,
    /// The bytes that the peer has written. Those in `received..written` wait in the server's socket.
    pub(crate) written: u64,
    pub(crate) received: u64,
    /// The number of receives that they took.
    pub(crate) receives: u32,
    /// When the header has to be complete.
    pub(crate) due: u64,
    /// The time of the last turn in which the loop could not look for the rest of a late header.
    pub(crate) excused: Option<u64>,
    /// For how many turns the header has been late without an excuse.
    pub(crate) late_turns: u32,
}

impl Header {
    pub(crate) fn new(plan: HeaderPlan) -> Header {
        Header { plan, written: 0, received: 0, receives: 0, due: 0, excused: None, late_turns: 0 }
    }

    /// Whether the loop has not received all of it, or never will.
    pub(crate) fn is_awaited(&self) -> bool {
        !matches!(self.plan.fate, Fate::Complete(_)) || self.left() > 0
    }

    /// Whether the peer has more of it to write.
    pub(crate) fn has_more(&self) -> bool {
        self.written < self.length()
    }

    pub(crate) fn length(&self) -> u64 {
        self.plan.bytes.len() as u64
    }

    /// The bytes that the loop has not received.
    pub(crate) fn left(&self) -> u64 {
        self.length() - self.received
    }

    /// The bytes in the server's socket.
    pub(crate) fn waiting(&self) -> &[u8] {
        &self.plan.bytes[self.received as usize..self.written as usize]
    }

    /// Whether the next `n` bytes show that the header is not valid.
    pub(crate) fn is_refused_within(&self, n: u64) -> bool {
        matches!(self.plan.fate, Fate::Refused(at) if at <= self.received + n)
    }

    /// The addresses of the client and of the server that it reports, once it is complete.
    pub(crate) fn reported(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self.plan.fate {
            Fate::Complete(reported) if !self.is_awaited() => reported,
            _ => None,
        }
    }
}
