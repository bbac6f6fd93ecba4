//! A connection: its peer, the server's socket with the bytes in both directions, and what the loop knows of it.

use std::net::SocketAddr;

use nix::errno::Errno;
use parrot_server::CloseReason;
use parrot_server::fault::FaultKind;
use parrot_server::simulation::Target;

use crate::buffers::Held;
use crate::dice::{Dice, Purpose};
use crate::headers::Header;
use crate::peer::PeerPlan;
use crate::plan::{self, Plan};
use crate::replies::Replies;

/// A connection's socket, as the loop holds it.
#[derive(Debug)]
pub struct Socket {
    /// The number of the peer.
    pub connection: usize,
}

/// The state of a connection, as its peer and the system see it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The peer has not connected yet.
    #[default]
    Away,
    /// The connection waits to be accepted.
    Backlog,
    /// The server holds the socket.
    Open,
    /// The server has closed the socket.
    Closed,
    /// The connection was refused or dropped from the backlog.
    Dropped,
}

/// The result of the set-up of an accepted socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum SetUp {
    #[default]
    NotTried,
    Failed,
    Done,
}

/// A connection. Offsets count bytes of the peer's stream from 0.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connection {
    pub(crate) plan: PeerPlan,
    /// Dice for what the peer does.
    pub(crate) dice: Dice,
    /// Dice for the results of calls on the server's socket.
    pub(crate) call_dice: Dice,
    /// The number of calls for this connection.
    pub(crate) calls: u32,
    pub(crate) stage: Stage,
    pub(crate) attempts: u32,

    // From the peer to the server.
    /// The bytes that the peer has written. Those in `received..written` wait in the server's socket.
    pub(crate) written: u64,
    pub(crate) received: u64,
    /// The PROXY header before them, if the listener wants one.
    pub(crate) header: Option<Box<Header>>,
    pub(crate) urgent: Option<u64>,
    /// Whether the peer has ended its stream, and whether the loop has received that.
    pub(crate) peer_ended: bool,
    pub(crate) end_received: bool,
    /// The error of the next call on the socket.
    pub(crate) error: Option<Errno>,
    /// Whether the socket has failed. After its error, nothing can be received or sent.
    pub(crate) broken: bool,

    // From the server to the peer.
    /// The bytes that the loop has put in its buffer for the peer.
    pub(crate) promised: u64,
    /// The bytes that the loop has sent. Those in `read..sent` wait in the server's socket.
    pub(crate) sent: u64,
    pub(crate) read: u64,
    pub(crate) shut: bool,
    /// What the peer is sent besides its echo.
    pub(crate) replies: Option<Box<Replies>>,

    // The peer.
    /// Whether the peer has closed, so that bytes that reach it cause a reset.
    pub(crate) peer_closed: bool,
    pub(crate) vanished: bool,
    pub(crate) saw_end: bool,
    pub(crate) writer_waits: bool,
    pub(crate) reader_waits: bool,

    /// Whether it comes over a Unix socket.
    pub(crate) unix: bool,
    /// Whether it may not send a PROXY header.
    pub(crate) stranger: bool,
    /// Its faults on request, and whether one refuses it.
    pub(crate) faults: Vec<FaultKind>,
    pub(crate) is_refused: bool,
    /// Whether a look has found its end, which may be all that the loop needs.
    pub(crate) end_seen: bool,
    /// Whether the loop has closed it with a reset.
    pub(crate) is_reset: bool,
    /// The index of the listener that it connects to.
    pub(crate) port: usize,
    /// The connection's number, and the server's address if the loop knows it.
    pub(crate) number: u64,
    pub(crate) local: Option<SocketAddr>,

    // The event queue's part.
    pub(crate) watch_read: Option<Target>,
    pub(crate) watch_write: Option<Target>,
    /// The target that the connection was watched with.
    pub(crate) target: Option<Target>,
    /// Whether something has arrived since the last event.
    pub(crate) edge: bool,

    // What the loop may know from its events and its calls.
    pub(crate) set_up: SetUp,
    /// Whether an event or the start of a drain gave a reason to receive, and the socket was not found empty since.
    pub(crate) hinted: bool,
    pub(crate) read_on: bool,
    /// Whether the loop may read on until the socket is empty, and need not.
    pub(crate) may_read_on: bool,
    /// Whether the last receive came short at a Unix socket, which shows nothing. The loop has to look again before it
    /// sleeps.
    pub(crate) in_doubt: bool,
    pub(crate) unread: u64,
    /// Whether the last receive since the start of the drain has found the socket empty.
    pub(crate) seen_empty: bool,
    /// Whether a send has filled the socket, and no event has reported room since.
    pub(crate) blocked: bool,
    /// The bytes in the loop's buffer, sent or not. The buffer is empty again when all are sent.
    pub(crate) filled: u64,
    pub(crate) buffer: Held,
    /// When a byte last went in or out, or the connection was accepted.
    pub(crate) active: u64,
    /// The turn in which that was. The loop may count the whole turn as active.
    pub(crate) active_from: u64,
    pub(crate) active_until: u64,
    pub(crate) active_in_turn: bool,
    /// The time of the last turn in which the peer was not to blame for idleness.
    pub(crate) excused: u64,
    /// The time of the turn in which there was no memory for a call.
    pub(crate) memory_short: Option<u64>,
    /// Why the loop has to close the connection.
    pub(crate) ended: Option<CloseReason>,
    /// The length of the last receive, until it is logged.
    pub(crate) message: Option<u64>,

    // How often the loop serves the connection.
    /// The last turn in which a call was made, and the share of the turn that was used.
    pub(crate) turn: u64,
    pub(crate) calls_in_turn: u32,
    pub(crate) bytes_in_turn: u64,
    pub(crate) unserved_turns: u32,
    /// The number of turns for which the connection has been idle for too long.
    pub(crate) idle_turns: u32,
    /// The last turn with an event, how many it had, and the last turn in which the loop tried to send.
    pub(crate) event_turn: u64,
    pub(crate) events_in_turn: u32,
    pub(crate) tried_in: u64,
    /// The last turn in which the loop peeked at the input.
    pub(crate) looked_in: u64,
    /// The number of following calls that are interrupted.
    pub(crate) interruptions: u32,
    /// The number of buffers that had been given back when the connection began to wait for one.
    pub(crate) waiting_since: Option<u64>,
    /// The number of connections that were open then. No more can be before this one.
    pub(crate) waiting_places: usize,
    /// The time of the last turn in which an idle connection was served, which counts as work once in a timeout.
    pub(crate) idle_look: u64,
}

impl Connection {
    /// Counts an event that is delivered in `turn`.
    pub(crate) fn count_event(&mut self, turn: u64) {
        self.events_in_turn = if self.event_turn == turn { self.events_in_turn + 1 } else { 1 };
        self.event_turn = turn;
    }

    pub(crate) fn new(peer: &plan::Peer, plan: &Plan, dice: &Dice, index: usize) -> Connection {
        let port = index % plan.ports.len();
        let replies = plan.doors.greeting.is_some() || plan.doors.prefix.is_some();
        Connection {
            plan: peer.script.clone(),
            header: peer.header.clone().map(|header| Box::new(Header::new(header))),
            replies: replies.then(Box::default),
            unix: plan.ports[port].unix,
            stranger: peer.stranger,
            port,
            dice: dice.of(Purpose::Peer, index as u64),
            call_dice: dice.of(Purpose::Calls, index as u64),
            ..Connection::default()
        }
    }

    /// The bytes that wait in the server's socket.
    pub(crate) fn unreceived(&self) -> u64 {
        let header = self.header.as_ref().map_or(0, |header| header.written - header.received);
        header + self.written - self.received
    }

    /// Whether the loop waits for the rest of a PROXY header, for which it needs no buffer.
    pub(crate) fn awaits_header(&self) -> bool {
        self.header.as_ref().is_some_and(|header| header.is_awaited())
    }

    /// Whether the peer has read the echo of all that it has written, and every text around it.
    pub(crate) fn is_echoed(&self) -> bool {
        match self.replies {
            None => self.read == self.written,
            Some(_) => self.received == self.written && self.sent == self.promised && self.read == self.sent,
        }
    }

    /// Whether a receive would return something other than "would block".
    pub(crate) fn readable(&self) -> bool {
        self.unreceived() > 0 || self.broken || self.peer_ended
    }

    /// Whether the peer's end of stream or an error follows the bytes in the socket.
    pub(crate) fn end_in_sight(&self) -> bool {
        self.peer_ended || self.broken
    }

    /// The bytes that the loop has received and not sent back. None once it has shut its side down.
    pub(crate) fn owed(&self) -> u64 {
        if self.shut { 0 } else { self.promised - self.sent }
    }

    /// The room in the server's socket for bytes to the peer.
    pub(crate) fn room(&self) -> u64 {
        self.plan.send_room - (self.sent - self.read)
    }

    /// Whether the peer has ended its stream and was sent all of it, so that the connection is to be closed.
    pub(crate) fn is_finished(&self) -> bool {
        self.end_received && !self.shut && self.sent == self.promised && self.unreceived() == 0
    }

    /// Whether the loop serves this connection.
    pub(crate) fn served(&self) -> bool {
        self.stage == Stage::Open && self.set_up == SetUp::Done
    }

    /// Records that a byte went in or out, or that the connection was accepted.
    pub(crate) fn note_activity(&mut self, now: u64) {
        self.active = now;
        self.active_until = now;
        self.active_in_turn = true;
    }

    /// Records that the loop has found the socket empty.
    pub(crate) fn emptied(&mut self, draining: bool) {
        self.came_short(draining);
        self.may_read_on = false;
        self.in_doubt = false;
    }

    /// Records that a receive came short, which shows that the socket is empty.
    pub(crate) fn came_short(&mut self, draining: bool) {
        self.hinted = false;
        self.read_on = false;
        self.unread = 0;
        self.seen_empty = draining;
    }
}
