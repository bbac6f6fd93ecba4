//! What the handles of a log and its thread pass to each other under the lock.

use std::collections::VecDeque;
use std::mem;

use crate::sink::Sink;

/// Lines on their way to the thread, and what else it has to do.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) pending: Vec<u8>,
    pub(crate) pending_lines: u64,
    /// Lines dropped after the pending ones.
    pub(crate) dropped: u64,
    pub(crate) wake: Wake,
    pub(crate) reopen: bool,
    /// Where the log has yet to go, in this order.
    pub(crate) moves: VecDeque<Move>,
    pub(crate) closed: bool,
    /// The thread has ended.
    pub(crate) ended: bool,
    pub(crate) lines_in_flight: u64,
}

/// What the thread wants to be woken for. The append that wakes it sets this to `Never`, for one wake-up per batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Wake {
    #[default]
    Never,
    FullBatch,
    AnyLine,
}

/// A move to another target.
#[derive(Debug)]
pub(crate) struct Move {
    /// The lines that still belong to the target before.
    pub(crate) before: Batch,
    pub(crate) to: Sink,
}

impl State {
    pub(crate) fn has_work(&self) -> bool {
        !self.pending.is_empty() || self.dropped > 0 || self.reopen || self.closed || !self.moves.is_empty()
    }

    /// How many lines are not known to be written.
    pub(crate) fn unwritten(&self) -> u64 {
        let before_moves: u64 = self.moves.iter().map(|next| next.before.lines).sum();
        self.pending_lines + self.lines_in_flight + before_moves
    }

    /// Takes what is to be written next. Later lines go into a new buffer.
    pub(crate) fn take_pending(&mut self) -> Batch {
        let (bytes, lines) = (mem::take(&mut self.pending), mem::take(&mut self.pending_lines));
        let (dropped_after, reopen) = (mem::take(&mut self.dropped), mem::take(&mut self.reopen));
        Batch { bytes, lines, dropped_after, reopen, then: None, last: false }
    }
}

/// What the thread has taken to write.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) lines: u64,
    /// Lines dropped after these.
    pub(crate) dropped_after: u64,
    pub(crate) reopen: bool,
    /// Where the log goes after these.
    pub(crate) then: Option<Sink>,
    pub(crate) last: bool,
}
