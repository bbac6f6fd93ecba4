//! One connection of the load: what it has sent, what is due to come back, and whether what came back is that.

use std::net::TcpStream;

use crate::failure::Failure;
use crate::pattern::{Pattern, Position};

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No socket: not opened yet, or ended, and may be opened (again).
    Closed,
    /// Connecting.
    Dialing,
    /// Connected.
    Open,
    /// Failed, and not used any more.
    Dead,
}

/// One connection.
///
/// Invariant: `answered <= asked`, and `filled < size` of a message.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) stream: Option<TcpStream>,
    pub(crate) phase: Phase,
    /// Whether the queue tells when it can be sent on again.
    pub(crate) write_armed: bool,
    /// When it was dialed, in nanoseconds since the run began.
    pub(crate) dialed_at: u64,
    /// How often dialing it failed.
    pub(crate) attempts: u32,
    /// Messages begun, and messages that came back in full.
    pub(crate) asked: u64,
    pub(crate) answered: u64,
    /// Messages whose time has come while others were under way (open loop).
    pub(crate) owed: u64,
    /// Bytes of messages begun that the socket did not take yet.
    unsent: usize,
    /// Bytes sent that have not come back.
    due: usize,
    /// Bytes of the next answer that are here.
    filled: usize,
    sending: Position,
    receiving: Position,
}

impl Link {
    pub(crate) fn new(connection: usize) -> Link {
        let start = Position::start_of(connection);
        Link {
            stream: None,
            phase: Phase::Closed,
            write_armed: false,
            dialed_at: 0,
            attempts: 0,
            asked: 0,
            answered: 0,
            owed: 0,
            unsent: 0,
            due: 0,
            filled: 0,
            sending: start,
            receiving: start,
        }
    }

    /// Messages begun that have not come back.
    pub(crate) fn under_way(&self) -> u64 {
        self.asked - self.answered
    }

    /// Begins `count` messages of `size` bytes.
    pub(crate) fn ask(&mut self, count: u64, size: usize) {
        self.asked += count;
        self.unsent += count as usize * size;
    }

    /// What to send next; empty when nothing is left.
    pub(crate) fn to_send<'a>(&self, pattern: &'a Pattern) -> &'a [u8] {
        pattern.run(self.sending, self.unsent)
    }

    /// Notes that the socket took `bytes` of [`to_send`](Link::to_send).
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sending = self.sending.after(bytes);
        self.unsent -= bytes;
        self.due += bytes;
    }

    /// Whether the socket has yet to take some of what was begun.
    pub(crate) fn has_unsent(&self) -> bool {
        self.unsent > 0
    }

    /// Checks what came back and says how many answers it completed. They are not counted as answered yet.
    pub(crate) fn received(&mut self, bytes: &[u8], pattern: &Pattern, size: usize) -> Result<u64, Failure> {
        if bytes.len() > self.due {
            return Err(Failure::Unasked);
        }
        if !pattern.matches(self.receiving, bytes) {
            return Err(Failure::Mismatch);
        }
        self.receiving = self.receiving.after(bytes.len());
        self.due -= bytes.len();
        self.filled += bytes.len();
        let mut completed = 0;
        while self.filled >= size {
            self.filled -= size;
            completed += 1;
        }
        Ok(completed)
    }

    /// Gives up what is under way and forgets the socket, which the caller gets.
    pub(crate) fn reset(&mut self, phase: Phase) -> Option<TcpStream> {
        self.phase = phase;
        self.write_armed = false;
        self.answered = self.asked;
        (self.unsent, self.due, self.filled) = (0, 0, 0);
        self.receiving = self.sending;
        self.stream.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 12;

    /// A connection that has sent `messages`, and the bytes it sent.
    fn asked(pattern: &Pattern, messages: u64) -> (Link, Vec<u8>) {
        let mut link = Link::new(5);
        link.ask(messages, SIZE);
        let mut bytes = Vec::new();
        while link.has_unsent() {
            let run = link.to_send(pattern);
            bytes.extend_from_slice(run);
            link.sent(run.len());
        }
        (link, bytes)
    }

    #[test]
    fn an_answer_counts_once_it_is_whole_however_it_arrives() {
        let pattern = Pattern::new(SIZE);
        for cut in 1..=SIZE * 3 {
            let (mut link, bytes) = asked(&pattern, 3);
            let completed: u64 =
                bytes.chunks(cut).map(|piece| link.received(piece, &pattern, SIZE).expect("the right bytes")).sum();
            assert_eq!(completed, 3, "in pieces of {cut}");
        }
    }

    #[test]
    fn a_read_that_is_short_of_the_message_is_no_answer() {
        let pattern = Pattern::new(SIZE);
        let (mut link, bytes) = asked(&pattern, 1);
        assert_eq!(link.received(&bytes[..SIZE - 1], &pattern, SIZE), Ok(0));
    }

    #[test]
    fn bytes_beyond_what_was_sent_are_unasked_for() {
        let pattern = Pattern::new(SIZE);
        let (mut link, mut bytes) = asked(&pattern, 1);
        bytes.extend_from_within(..);
        assert_eq!(link.received(&bytes, &pattern, SIZE), Err(Failure::Unasked));
    }

    #[test]
    fn an_answer_meant_for_another_connection_is_a_mismatch() {
        let pattern = Pattern::new(SIZE);
        let (mut link, _) = asked(&pattern, 1);
        let other = pattern.run(Position::start_of(6), SIZE);
        assert_eq!(link.received(other, &pattern, SIZE), Err(Failure::Mismatch));
    }
}
