//! The connections that are served later in a turn, or in the next one.

use std::collections::VecDeque;

use crate::host::ConnectionKey;

/// The most connections served in one turn beside those with events, because a drain or a freed buffer can make
/// thousands ready at once.
pub(super) const LEFTOVERS_PER_TURN: usize = 1024;

/// How many connections are received from before the first of them is sent to. Receiving and sending use different
/// paths through the kernel, and each is faster while its path is warm. docs/benchmarks.md has the figures.
const RECEIVES_AHEAD: usize = 8;

/// How many bytes are received before they are sent. More than this is sent sooner, while it is still in the
/// processor's cache, and from the buffer that the next connection receives into.
const BYTES_AHEAD: usize = 64 * 1024;

/// How many entries an empty list has room for. After a drain or a shortage of buffers there may have been one for each
/// connection.
const KEPT: usize = LEFTOVERS_PER_TURN;

/// Whether a connection is in one of the lists that outlive a turn. Only [`Lists`] changes it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Listed {
    #[default]
    No,
    Yes,
    /// It is, and an event has used up a share since it was put there. So it gives up its place.
    Served,
}

/// Lists of connections by key. A connection that closes stays in its list, and its key then names nothing.
#[derive(Debug)]
pub(super) struct Lists {
    /// Connections of this turn that were received from and not sent to yet.
    ahead: Vec<ConnectionKey>,
    /// How many bytes were received from those.
    bytes_ahead: usize,
    /// Connections whose share of a turn was used up.
    unfinished: VecDeque<ConnectionKey>,
    /// Connections that wait for a buffer, the one that has waited longest first.
    waiting: VecDeque<ConnectionKey>,
}

impl Lists {
    pub(super) fn new() -> Lists {
        Lists {
            ahead: Vec::with_capacity(RECEIVES_AHEAD),
            bytes_ahead: 0,
            unfinished: VecDeque::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Adds a connection from which `received` bytes were received. Returns whether it is time to send.
    pub(super) fn push_ahead(&mut self, key: ConnectionKey, received: usize) -> bool {
        self.bytes_ahead += received;
        self.ahead.push(key);
        self.ahead.len() == RECEIVES_AHEAD || self.bytes_ahead >= BYTES_AHEAD
    }

    /// The connection that was received from after `earlier` others.
    pub(super) fn ahead(&self, earlier: usize) -> Option<ConnectionKey> {
        self.ahead.get(earlier).copied()
    }

    /// Forgets those that were received from, because they have been served.
    pub(super) fn clear_ahead(&mut self) {
        self.bytes_ahead = 0;
        self.ahead.clear();
    }

    /// Has a connection served that may have input, unless it is in a list already.
    pub(super) fn push_ready(&mut self, key: ConnectionKey, listed: &mut Listed) {
        if *listed == Listed::No {
            *listed = Listed::Yes;
            self.unfinished.push_back(key);
        }
    }

    /// Has a connection served again when others have had their share. If it is in the list already, it gives up its
    /// place there, because it has just been served.
    pub(super) fn push_unfinished(&mut self, key: ConnectionKey, listed: &mut Listed) {
        match listed {
            Listed::No => self.push_ready(key, listed),
            Listed::Yes | Listed::Served => *listed = Listed::Served,
        }
    }

    /// Has a connection served when a buffer is free.
    pub(super) fn push_waiting(&mut self, key: ConnectionKey, listed: &mut Listed) {
        if *listed == Listed::No {
            *listed = Listed::Yes;
            self.waiting.push_back(key);
        }
    }

    /// Takes the next of those whose share was used up. If it is still open, [`unlist`](Lists::unlist) has to follow.
    pub(super) fn pop_unfinished(&mut self) -> Option<ConnectionKey> {
        pop(&mut self.unfinished)
    }

    /// Takes the one that has waited longest. If it is still open, [`unlist`](Lists::unlist) has to follow.
    pub(super) fn pop_waiting(&mut self) -> Option<ConnectionKey> {
        pop(&mut self.waiting)
    }

    /// Notes that a connection was taken from its list. Returns what it was in it.
    pub(super) fn unlist(listed: &mut Listed) -> Listed {
        std::mem::take(listed)
    }

    /// Has those that wait for a buffer served without one. In a drain, the quiet ones need none.
    pub(super) fn stop_waiting(&mut self) {
        self.unfinished.extend(std::mem::take(&mut self.waiting));
    }

    /// Removes closed connections from those that wait, once they may be more than half.
    pub(super) fn tidy_waiting(&mut self, open: usize, is_open: impl Fn(ConnectionKey) -> bool) {
        if self.waiting.len() > 2 * open + LEFTOVERS_PER_TURN {
            self.waiting.retain(|key| is_open(*key));
            self.waiting.shrink_to(KEPT);
        }
    }

    pub(super) fn unfinished(&self) -> usize {
        self.unfinished.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The memory in bytes that the lists take, with what they have room for.
    pub(super) fn bytes(&self) -> usize {
        let entries = self.ahead.capacity() + self.unfinished.capacity() + self.waiting.capacity();
        entries * size_of::<ConnectionKey>()
    }
}

/// Takes the first entry of a list. Once the list is empty, it keeps memory for a few.
fn pop(list: &mut VecDeque<ConnectionKey>) -> Option<ConnectionKey> {
    let first = list.pop_front();
    if list.is_empty() {
        list.shrink_to(KEPT);
    }
    first
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn a_burst_leaves_no_memory_behind() {
        let mut lists = Lists::new();
        let (mut listed, keys) = (Listed::default(), 0..100_000);
        for slot in keys.clone() {
            lists.push_waiting(ConnectionKey { slot, generation: NonZeroU32::MIN }, &mut listed);
            assert_eq!(Lists::unlist(&mut listed), Listed::Yes);
        }
        lists.stop_waiting();
        let (full, mut popped) = (lists.bytes(), 0..);
        while let Some(key) = lists.pop_unfinished() {
            assert_eq!(Some(key.slot), popped.next(), "in the order in which they came");
        }
        assert_eq!(popped.start, keys.end);
        assert!(full > 800_000 && lists.bytes() < 20_000, "{} of {full} bytes are kept", lists.bytes());
    }
}
