//! What is known of a socket: whether a receive or a send is worth a call.

use std::num::NonZeroU64;

/// The state between the queue's events and the calls that follow them.
///
/// Reads are edge-triggered. An edge is remembered until a receive shows that the socket is empty, so a connection can
/// stop being read (buffer full, no buffer, share of the turn used up) without a system call and without a spin. Writes
/// are watched, level-triggered, only while bytes are left over.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    readable: bool,
    read_on: bool,
    short: ShortReceive,
    /// Bytes that the queue has counted and no receive has returned yet. 0 on systems that do not count.
    unread: u32,
    blocked: bool,
}

/// What a receive shows that leaves room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ShortReceive {
    /// The socket is empty, unless its event said that something may be behind the bytes.
    #[default]
    Empties,
    /// Nothing, because a receive can stop anywhere in the stream. Only "would block" shows that the socket is empty.
    ShowsNothing,
    /// The same, and the last receive was such a one. The socket may have bytes for which no edge will come.
    LeftDoubt,
}

impl Readiness {
    /// The readiness of a Unix socket. A receive stops at a message that carried descriptors or urgent data, although more
    /// has arrived (`unix_stream_read_generic` in net/unix/af_unix.c, `soreceive_generic` in FreeBSD's
    /// sys/kern/uipc_socket.c).
    pub(super) fn of_unix_socket() -> Readiness {
        Readiness { short: ShortReceive::ShowsNothing, ..Readiness::default() }
    }

    /// The queue reports bytes, an end or an error. See [`Event::Readable`](crate::host::Event::Readable).
    pub(super) fn report_readable(&mut self, read_on: bool, available: Option<NonZeroU64>) {
        self.readable = true;
        self.read_on |= read_on;
        self.unread = available.map_or(0, |bytes| u32::try_from(bytes.get()).unwrap_or(u32::MAX));
    }

    /// The queue reports room to send, or a try is worth a call.
    pub(super) fn report_writable(&mut self) {
        self.blocked = false;
    }

    /// The socket has to be read until it is seen empty, although no event says what is in it. Urgent data may be
    /// there, so a short receive does not show that it is empty.
    pub(super) fn suspect_input(&mut self) {
        self.readable = true;
        self.read_on = true;
        self.forget_doubt();
    }

    /// A receive returned `n` bytes into `room`. Returns whether this shows that the socket is empty: the receive came
    /// short, and nothing can be behind its bytes.
    // One of those that each message goes through (`Conversation::receive`).
    #[inline(always)]
    #[must_use]
    pub(super) fn received(&mut self, n: usize, room: usize) -> bool {
        self.unread = (self.unread as usize).saturating_sub(n) as u32;
        let came_short = n < room && !self.read_on && self.unread == 0;
        if came_short {
            self.emptied();
            if self.short == ShortReceive::ShowsNothing {
                self.short = ShortReceive::LeftDoubt;
            }
        }
        came_short && self.short == ShortReceive::Empties
    }

    /// The socket has been seen empty. The next bytes, or the end, come with a new edge.
    pub(super) fn emptied(&mut self) {
        self.readable = false;
        self.read_on = false;
        self.unread = 0;
        self.forget_doubt();
    }

    fn forget_doubt(&mut self) {
        if self.short == ShortReceive::LeftDoubt {
            self.short = ShortReceive::ShowsNothing;
        }
    }

    /// Whether the socket has to be looked at before the loop sleeps, although nothing was reported.
    pub(super) fn is_doubtful(&self) -> bool {
        self.short == ShortReceive::LeftDoubt
    }

    /// Nothing more is to be received.
    pub(super) fn ended(&mut self) {
        self.readable = false;
    }

    /// A send filled the socket.
    pub(super) fn filled(&mut self) {
        self.blocked = true;
    }

    /// Whether the socket may have bytes, an end or an error to receive.
    pub(super) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Whether only 0, an error or "would block" shows that the socket is empty.
    pub(super) fn must_read_on(&self) -> bool {
        self.read_on
    }

    /// Whether the socket is full and no room has been reported since.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(read_on: bool, available: Option<u64>) -> Readiness {
        let mut readiness = Readiness::default();
        readiness.report_readable(read_on, available.and_then(NonZeroU64::new));
        readiness
    }

    #[test]
    fn a_short_receive_shows_that_the_socket_is_empty() {
        let mut readiness = reported(false, None);
        assert!(readiness.received(5, 10));
        assert!(!readiness.is_readable());
    }

    #[test]
    fn a_receive_that_fills_its_room_does_not_show_it() {
        let mut readiness = reported(false, Some(10));
        assert!(!readiness.received(10, 10));
        assert!(readiness.is_readable());
    }

    #[test]
    fn an_end_behind_the_bytes_is_read_up_to() {
        let mut readiness = reported(true, None);
        assert!(!readiness.received(5, 10));
        assert!(readiness.is_readable() && readiness.must_read_on());
        readiness.ended();
        assert!(!readiness.is_readable());
    }

    #[test]
    fn a_receive_short_of_the_count_has_stopped_at_urgent_data() {
        let mut readiness = reported(false, Some(8));
        assert!(!readiness.received(5, 10));
        assert!(readiness.is_readable());
        assert!(readiness.received(3, 10), "all that was counted has been received");
    }

    #[test]
    fn bytes_beyond_the_count_are_no_reason_to_read_on() {
        let mut readiness = reported(false, Some(3));
        assert!(readiness.received(5, 10));
    }

    #[test]
    fn a_count_beyond_32_bits_is_not_taken_for_a_small_one() {
        let mut readiness = reported(false, Some(1 << 32));
        assert!(!readiness.received(5, 10));
    }

    #[test]
    fn a_later_report_does_not_take_back_that_an_end_is_behind() {
        let mut readiness = reported(true, None);
        readiness.report_readable(false, None);
        assert!(!readiness.received(5, 10));
    }

    #[test]
    fn would_block_forgets_everything_about_the_input() {
        let mut readiness = reported(true, Some(100));
        readiness.emptied();
        assert!(!readiness.is_readable() && !readiness.must_read_on());
        readiness.report_readable(false, None);
        assert!(readiness.received(1, 10), "nothing is left of the earlier count");
    }

    #[test]
    fn suspected_input_is_read_until_it_would_block() {
        let mut readiness = Readiness::default();
        readiness.suspect_input();
        assert!(readiness.is_readable());
        assert!(!readiness.received(5, 10));
    }

    #[test]
    fn a_short_receive_proves_nothing_of_a_unix_socket() {
        let mut readiness = Readiness::of_unix_socket();
        readiness.report_readable(false, None);
        assert!(!readiness.is_doubtful());
        assert!(!readiness.received(5, 10));
        assert!(readiness.is_doubtful() && !readiness.is_readable());
        readiness.suspect_input();
        assert!(!readiness.received(5, 10), "nor does the next one");
        assert!(readiness.is_readable());
        readiness.emptied();
        assert!(!readiness.is_doubtful() && !readiness.is_readable());
    }

    #[test]
    fn a_full_socket_is_blocked_until_room_is_reported() {
        let mut readiness = Readiness::default();
        assert!(!readiness.is_blocked());
        readiness.filled();
        readiness.report_readable(true, None);
        assert!(readiness.is_blocked());
        readiness.report_writable();
        assert!(!readiness.is_blocked());
    }
}
