//! One peer and the server's socket for it: what is on its way in both directions, and what the loop was told of it.

use nix::errno::Errno;
use parrot_server::CloseReason;
use parrot_server::simulation::Target;

use crate::dice::{Dice, Purpose};
use crate::peer::PeerPlan;

/// Where a conversation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The peer has not connected yet.
    Away,
    /// It waits to be accepted.
    Backlog,
    /// The server has the socket.
    Open,
    /// The server has closed the socket.
    Closed,
    /// It never got there: refused, or dropped from the backlog.
    Lost,
}

/// How far the server got with an accepted socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetUp {
    NotTried,
    Failed,
    Done,
}

/// One conversation. Offsets count bytes of the peer's stream from 0.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) plan: PeerPlan,
    /// What the peer does on the way.
    pub(crate) dice: Dice,
    /// How calls on the server's socket turn out.
    pub(crate) call_dice: Dice,
    /// How many calls were made for it.
    pub(crate) calls: u32,
    pub(crate) stage: Stage,
    pub(crate) attempts: u32,

    // From the peer to the server.
    /// Written by the peer: `received..written` waits in the server's socket.
    pub(crate) written: u64,
    pub(crate) received: u64,
    pub(crate) urgent: Option<u64>,
    /// The peer has ended its stream, and the loop has received that.
    pub(crate) peer_ended: bool,
    pub(crate) end_received: bool,
    /// What the next call on the socket fails with.
    pub(crate) error: Option<Errno>,
    /// The socket has failed: after the error was told there is nothing to receive and nobody to send to.
    pub(crate) broken: bool,

    // From the server to the peer.
    /// Sent by the loop: `read..sent` waits in the server's socket.
    pub(crate) sent: u64,
    pub(crate) read: u64,
    pub(crate) shut: bool,

    // The peer.
    /// Closed: bytes that reach it are answered with a reset.
    pub(crate) peer_closed: bool,
    pub(crate) vanished: bool,
    pub(crate) saw_end: bool,
    pub(crate) writer_waits: bool,
    pub(crate) reader_waits: bool,

    // The event queue's part.
    pub(crate) watch_read: Option<Target>,
    pub(crate) watch_write: Option<Target>,
    /// What it was watched with.
    pub(crate) target: Option<Target>,
    /// Something has come since the last event.
    pub(crate) edge: bool,

    // What the loop may know from its events and its calls.
    pub(crate) set_up: SetUp,
    /// An event, or the start of a drain, gave reason to receive; until a receive shows that the socket is empty.
    pub(crate) hinted: bool,
    pub(crate) read_on: bool,
    pub(crate) unread: u64,
    /// The last receive has shown the socket empty, since the start of the drain.
    pub(crate) seen_empty: bool,
    /// A send has filled the socket, and no event has told of room since.
    pub(crate) blocked: bool,
    /// How far the loop's buffer is filled; it is empty again when all is sent.
    pub(crate) filled: u64,
    /// When a byte went in or out, or the connection was accepted.
    pub(crate) active: u64,
    /// The end of the turn in which that was: until then the loop may take it to have been.
    pub(crate) active_until: u64,
    pub(crate) active_in_turn: bool,
    /// The time of the last turn in which it was not the peer's fault that no byte went in or out.
    pub(crate) excused: u64,
    /// The time of the turn in which a call failed for want of memory.
    pub(crate) memory_short: Option<u64>,
    /// Why the loop has to close it.
    pub(crate) ended: Option<CloseReason>,
    /// What the log is yet to be told: the length of the last receive.
    pub(crate) message: Option<u64>,

    // Work and want of it.
    /// The last turn in which it was called, and its share of it so far.
    pub(crate) turn: u64,
    pub(crate) calls_in_turn: u32,
    pub(crate) bytes_in_turn: u64,
    pub(crate) unserved_turns: u32,
    /// So many turns it has been idle for too long.
    pub(crate) idle_turns: u32,
    /// The last turn in which it had an event, and the last in which the loop tried to send.
    pub(crate) event_turn: u64,
    pub(crate) tried_in: u64,
    /// The last turn in which the loop looked at its input without receiving it.
    pub(crate) looked_in: u64,
    /// So many calls more are interrupted.
    pub(crate) interruptions: u32,
    /// How many buffers had been given back when it began to wait for one.
    pub(crate) in_line_since: Option<u64>,
    /// How many connections were open then: no more can be before it.
    pub(crate) in_line_places: usize,
    /// The time of the turn in which an idle time-out of its last had it looked at.
    pub(crate) idle_look: u64,
}

impl Link {
    pub(crate) fn new(plan: PeerPlan, dice: &Dice, index: usize) -> Link {
        Link {
            plan,
            dice: dice.of(Purpose::Peer, index as u64),
            call_dice: dice.of(Purpose::Calls, index as u64),
            calls: 0,
            stage: Stage::Away,
            attempts: 0,
            written: 0,
            received: 0,
            urgent: None,
            peer_ended: false,
            end_received: false,
            error: None,
            broken: false,
            sent: 0,
            read: 0,
            shut: false,
            peer_closed: false,
            vanished: false,
            saw_end: false,
            writer_waits: false,
            reader_waits: false,
            watch_read: None,
            watch_write: None,
            target: None,
            edge: false,
            set_up: SetUp::NotTried,
            hinted: false,
            read_on: false,
            unread: 0,
            seen_empty: false,
            blocked: false,
            filled: 0,
            active: 0,
            active_until: 0,
            active_in_turn: false,
            excused: 0,
            memory_short: None,
            ended: None,
            message: None,
            turn: 0,
            calls_in_turn: 0,
            bytes_in_turn: 0,
            unserved_turns: 0,
            idle_turns: 0,
            event_turn: 0,
            tried_in: 0,
            looked_in: 0,
            interruptions: 0,
            in_line_since: None,
            in_line_places: 0,
            idle_look: 0,
        }
    }

    /// Bytes in the server's socket.
    pub(crate) fn waiting(&self) -> u64 {
        self.written - self.received
    }

    /// Whether a receive would return something other than "would block".
    pub(crate) fn readable(&self) -> bool {
        self.waiting() > 0 || self.broken || self.peer_ended
    }

    /// Whether the peer's end, or an error, is behind the bytes in the socket.
    pub(crate) fn end_in_sight(&self) -> bool {
        self.peer_ended || self.broken
    }

    /// Bytes that the loop has received and not sent back; none once it has shut its side.
    pub(crate) fn owed(&self) -> u64 {
        if self.shut { 0 } else { self.received - self.sent }
    }

    /// Room in the server's socket for bytes to the peer.
    pub(crate) fn room(&self) -> u64 {
        self.plan.send_room - (self.sent - self.read)
    }

    /// The loop serves this connection, as far as it is told.
    pub(crate) fn served(&self) -> bool {
        self.stage == Stage::Open && self.set_up == SetUp::Done
    }

    /// A byte has gone in or out, or the connection was accepted.
    pub(crate) fn note_activity(&mut self, now: u64) {
        self.active = now;
        self.active_until = now;
        self.active_in_turn = true;
    }

    /// The loop has been shown that nothing is left in the socket.
    pub(crate) fn emptied(&mut self, draining: bool) {
        self.hinted = false;
        self.read_on = false;
        self.unread = 0;
        self.seen_empty = draining;
    }
}
