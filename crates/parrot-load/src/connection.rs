//! One connection of the load. It tracks what was sent and checks what comes back.

use std::os::fd::OwnedFd;

use crate::failure::Failure;
use crate::pattern::{Pattern, Position};

/// The phase of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No socket: not opened yet, or closed and ready to be opened again.
    #[default]
    Closed,
    /// Connecting, or waiting for room in a server's backlog. Then it has no socket.
    Dialing,
    /// Connected, and the server's greeting is not complete.
    Greeting,
    /// Connected, and ready for messages.
    Open,
    /// Failed, and no longer used.
    Dead,
}

/// One connection.
///
/// Invariant: `answered <= begun`, and `filled < size` of a message.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    pub(crate) stream: Option<OwnedFd>,
    pub(crate) phase: Phase,
    /// Whether write readiness is registered in the queue.
    pub(crate) write_armed: bool,
    /// The number of the target that was dialed.
    pub(crate) target: usize,
    /// When it was dialed, in nanoseconds since the run began.
    pub(crate) dialed_at: u64,
    /// How often its target was dialed.
    pub(crate) attempts: u32,
    /// Messages begun, and messages that are back in full.
    pub(crate) begun: u64,
    pub(crate) answered: u64,
    /// Open loop: messages that are due, but wait because the pipeline is full.
    pub(crate) owed: u64,
    /// Bytes of messages begun that the socket has not taken yet.
    unsent: usize,
    /// Bytes sent that are not back yet.
    due: usize,
    /// Bytes of the next answer that are back.
    filled: usize,
    /// Bytes of answers that are back on this socket.
    pub(crate) back: u64,
    /// Bytes of the greeting so far.
    greeting: usize,
    sending: Position,
    receiving: Position,
}

/// The longest greeting, with its LF.
const LONGEST_GREETING: usize = 4096;

impl Connection {
    pub(crate) fn new(connection: usize) -> Connection {
        let start = Position::start_of(connection);
        Connection { sending: start, receiving: start, ..Connection::default() }
    }

    /// Whether it is being opened.
    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.phase, Phase::Dialing | Phase::Greeting)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Messages begun that are not back yet.
    pub(crate) fn under_way(&self) -> u64 {
        self.begun - self.answered
    }

    /// Begins `count` messages of `size` bytes.
    pub(crate) fn begin(&mut self, count: u64, size: usize) {
        self.begun += count;
        self.unsent += count as usize * size;
    }

    /// The bytes to send next, none if everything has been sent.
    pub(crate) fn to_send<'a>(&self, pattern: &'a Pattern) -> &'a [u8] {
        pattern.run(self.sending, self.unsent)
    }

    /// Records that the socket took `bytes` of [`to_send`](Connection::to_send).
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sending = self.sending.after(bytes);
        self.unsent -= bytes;
        self.due += bytes;
    }

    /// Whether the socket has not taken all of what was begun.
    pub(crate) fn has_unsent(&self) -> bool {
        self.unsent > 0
    }

    /// Checks what came before the first message and returns whether it completes the greeting.
    pub(crate) fn greeted(&mut self, bytes: &[u8]) -> Result<bool, Failure> {
        self.greeting += bytes.len();
        match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) if end + 1 < bytes.len() => Err(Failure::Unasked),
            _ if self.greeting > LONGEST_GREETING => Err(Failure::Greeting),
            end => Ok(end.is_some()),
        }
    }

    /// Checks what came back and returns how many answers it completed. They are not counted as answered yet.
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
        self.back += bytes.len() as u64;
        let completed = self.filled / size;
        self.filled %= size;
        Ok(completed as u64)
    }

    /// Gives up what is under way, moves to `phase` and returns the socket.
    pub(crate) fn reset(&mut self, phase: Phase) -> Option<OwnedFd> {
        self.phase = phase;
        self.write_armed = false;
        self.answered = self.begun;
        (self.unsent, self.due, self.filled, self.greeting) = (0, 0, 0, 0);
        self.back = 0;
        self.receiving = self.sending;
        self.stream.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 12;

    /// A connection that has sent `messages`, and the bytes it sent.
    fn sending(pattern: &Pattern, messages: u64) -> (Connection, Vec<u8>) {
        let mut connection = Connection::new(5);
        connection.begin(messages, SIZE);
        let mut bytes = Vec::new();
        while connection.has_unsent() {
            let run = connection.to_send(pattern);
            bytes.extend_from_slice(run);
            connection.sent(run.len());
        }
        (connection, bytes)
    }

    #[test]
    fn an_answer_counts_once_it_is_whole() {
        let pattern = Pattern::new(SIZE);
        for cut in 1..=SIZE * 3 {
            let (mut connection, bytes) = sending(&pattern, 3);
            let received = |piece| connection.received(piece, &pattern, SIZE).expect("the right bytes");
            assert_eq!(bytes.chunks(cut).map(received).sum::<u64>(), 3, "in pieces of {cut}");
        }
    }

    #[test]
    fn part_of_a_message_is_no_answer() {
        let pattern = Pattern::new(SIZE);
        let (mut connection, bytes) = sending(&pattern, 1);
        assert_eq!(connection.received(&bytes[..SIZE - 1], &pattern, SIZE), Ok(0));
    }

    #[test]
    fn more_bytes_than_were_sent_are_unasked_for() {
        let pattern = Pattern::new(SIZE);
        let (mut connection, mut bytes) = sending(&pattern, 1);
        bytes.extend_from_within(..);
        assert_eq!(connection.received(&bytes, &pattern, SIZE), Err(Failure::Unasked));
    }

    #[test]
    fn a_greeting_is_one_line_of_bounded_length() {
        let longest = [vec![b'x'; LONGEST_GREETING - 1], vec![b'\n']].concat();
        for cut in [1, 2, 4095, 4096] {
            let mut connection = Connection::new(5);
            let complete = longest.chunks(cut).map(|piece| connection.greeted(piece).expect("a greeting"));
            assert_eq!(complete.filter(|complete| *complete).count(), 1, "in pieces of {cut}");
        }
        assert_eq!(Connection::new(5).greeted(&[b'x'; LONGEST_GREETING + 1]), Err(Failure::Greeting));
        assert_eq!(Connection::new(5).greeted(b"hello\nand more"), Err(Failure::Unasked));
    }

    #[test]
    fn an_answer_meant_for_another_connection_is_a_mismatch() {
        let pattern = Pattern::new(SIZE);
        let (mut connection, _) = sending(&pattern, 1);
        let other = pattern.run(Position::start_of(6), SIZE);
        assert_eq!(connection.received(other, &pattern, SIZE), Err(Failure::Mismatch));
    }
}
