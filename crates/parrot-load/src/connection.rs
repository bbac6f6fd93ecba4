//! One connection of the load. It tracks what was sent and checks what comes back.

use std::ops::Range;
use std::os::fd::OwnedFd;

use crate::failure::Failure;
use crate::pattern::{Pattern, Position};
use crate::sizes::Sizes;

/// The phase of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No socket: not opened yet, or closed and ready to be opened again.
    #[default]
    Closed,
    /// No socket, and its turn to be opened has yet to come.
    Queued,
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
/// Invariant: `answered <= begun`, and `filled` is less than the size of message number `answered`.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// Its number among those of all threads.
    number: usize,
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
    /// Messages that may be begun before it is closed and opened again. None while it is dead or waits for its turn.
    pub(crate) left: u64,
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
    /// Connection number `number`, which is opened again after `left` messages.
    pub(crate) fn new(number: usize, left: u64) -> Connection {
        let start = Position::start_of(number);
        Connection { number, left, sending: start, receiving: start, ..Connection::default() }
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

    /// How many messages it may begin now, if it may have `depth` under way.
    pub(crate) fn room(&self, depth: usize) -> u64 {
        (depth as u64).saturating_sub(self.under_way()).min(self.left)
    }

    /// Whether it has carried all the messages that it may, so that it has to be closed.
    pub(crate) fn is_spent(&self) -> bool {
        self.left == 0 && self.under_way() == 0
    }

    /// Begins `count` messages, for which it has room.
    pub(crate) fn begin(&mut self, count: u64, sizes: Sizes) {
        self.unsent += sizes.total(self.number, self.begun..self.begun + count);
        self.begun += count;
        self.left -= count;
    }

    /// Bytes in these of its messages.
    pub(crate) fn bytes(&self, messages: Range<u64>, sizes: Sizes) -> u64 {
        sizes.total(self.number, messages) as u64
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
    pub(crate) fn received(&mut self, bytes: &[u8], pattern: &Pattern, sizes: Sizes) -> Result<u64, Failure> {
        if bytes.len() > self.due {
            return Err(Failure::Unasked);
        }
        self.receiving = pattern.check(self.receiving, bytes).ok_or(Failure::Mismatch)?;
        self.due -= bytes.len();
        self.filled += bytes.len();
        self.back += bytes.len() as u64;
        if let Some(size) = sizes.fixed() {
            let completed = self.filled / size;
            self.filled %= size;
            return Ok(completed as u64);
        }
        Ok(self.complete(sizes))
    }

    /// Takes the answers that are whole out of what came back, if they have different sizes, and returns how many.
    #[inline(never)]
    fn complete(&mut self, sizes: Sizes) -> u64 {
        let mut next = self.answered;
        while let Some(rest) = self.filled.checked_sub(sizes.size(self.number, next)) {
            self.filled = rest;
            next += 1;
        }
        next - self.answered
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

    fn sizes() -> Sizes {
        Sizes::fixed_at(SIZE)
    }

    /// A connection that has sent `messages`, and the bytes it sent.
    fn sending(pattern: &Pattern, messages: u64) -> (Connection, Vec<u8>) {
        let mut connection = Connection::new(5, u64::MAX);
        connection.begin(messages, sizes());
        let bytes = sent_by(&mut connection, pattern);
        (connection, bytes)
    }

    /// Sends what the connection has begun, and returns it.
    fn sent_by(connection: &mut Connection, pattern: &Pattern) -> Vec<u8> {
        let mut bytes = Vec::new();
        while connection.has_unsent() {
            let run = connection.to_send(pattern);
            bytes.extend_from_slice(run);
            connection.sent(run.len());
        }
        bytes
    }

    #[test]
    fn an_answer_counts_once_it_is_whole() {
        let pattern = Pattern::new(SIZE);
        for cut in 1..=SIZE * 3 {
            let (mut connection, bytes) = sending(&pattern, 3);
            let received = |piece| connection.received(piece, &pattern, sizes()).expect("the right bytes");
            assert_eq!(bytes.chunks(cut).map(received).sum::<u64>(), 3, "in pieces of {cut}");
        }
    }

    #[test]
    fn messages_of_different_sizes_are_told_apart() {
        let (pattern, sizes) = (Pattern::new(SIZE), Sizes::between(1, 40));
        for cut in [1, 7, 40, 1000] {
            let mut connection = Connection::new(5, u64::MAX);
            connection.begin(9, sizes);
            assert_eq!(connection.unsent as u64, connection.bytes(0..9, sizes));
            let bytes = sent_by(&mut connection, &pattern);
            let mut ends = (1..=9).map(|messages| connection.bytes(0..messages, sizes)).collect::<Vec<u64>>();
            let mut received = 0;
            for piece in bytes.chunks(cut) {
                received += piece.len() as u64;
                let whole = ends.iter().take_while(|end| **end <= received).count();
                ends.drain(..whole);
                assert_eq!(
                    connection.received(piece, &pattern, sizes),
                    Ok(whole as u64),
                    "{received} in pieces of {cut}"
                );
                connection.answered += whole as u64;
            }
            assert_eq!((connection.under_way(), ends.len()), (0, 0));
        }
    }

    #[test]
    fn a_connection_begins_no_more_than_it_may_carry() {
        let mut connection = Connection::new(5, 5);
        assert_eq!(connection.room(3), 3);
        connection.begin(3, sizes());
        assert_eq!((connection.room(3), connection.is_spent()), (0, false));
        connection.answered = 3;
        assert_eq!(connection.room(3), 2);
        connection.begin(2, sizes());
        connection.answered = 4;
        assert_eq!((connection.room(3), connection.is_spent()), (0, false), "its last message is under way");
        connection.answered = 5;
        assert!(connection.is_spent());
    }

    #[test]
    fn part_of_a_message_is_no_answer() {
        let pattern = Pattern::new(SIZE);
        let (mut connection, bytes) = sending(&pattern, 1);
        assert_eq!(connection.received(&bytes[..SIZE - 1], &pattern, sizes()), Ok(0));
    }

    #[test]
    fn more_bytes_than_were_sent_are_unasked_for() {
        let pattern = Pattern::new(SIZE);
        let (mut connection, mut bytes) = sending(&pattern, 1);
        bytes.extend_from_within(..);
        assert_eq!(connection.received(&bytes, &pattern, sizes()), Err(Failure::Unasked));
    }

    #[test]
    fn a_greeting_is_one_line_of_bounded_length() {
        let longest = [vec![b'x'; LONGEST_GREETING - 1], vec![b'\n']].concat();
        for cut in [1, 2, 4095, 4096] {
            let mut connection = Connection::new(5, u64::MAX);
            let complete = longest.chunks(cut).map(|piece| connection.greeted(piece).expect("a greeting"));
            assert_eq!(complete.filter(|complete| *complete).count(), 1, "in pieces of {cut}");
        }
        assert_eq!(Connection::new(5, u64::MAX).greeted(&[b'x'; LONGEST_GREETING + 1]), Err(Failure::Greeting));
        assert_eq!(Connection::new(5, u64::MAX).greeted(b"hello\nand more"), Err(Failure::Unasked));
    }

    #[test]
    fn an_answer_meant_for_another_connection_is_a_mismatch() {
        let pattern = Pattern::new(SIZE);
        let (mut connection, _) = sending(&pattern, 1);
        let other = pattern.run(Position::start_of(6), SIZE);
        assert_eq!(connection.received(other, &pattern, sizes()), Err(Failure::Mismatch));
    }
}
