//! Chooses the connections that are served, and keeps the queue and the lists up to date with each.

use std::io;
use std::num::NonZeroU64;

use parrot_conn::CloseReason;

use super::conversation::{Ahead, Conversation, Pause, Served};
use super::idle::is_wanted;
use super::lists::{LEFTOVERS_PER_TURN, Listed, Lists};
use super::shortage::is_shortage;
use super::state::EventLoop;
use crate::host::{ConnectionKey, Host, Target, Watch};

/// A connection's claim to a free buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Borrow {
    /// Only if no other connection waits for one.
    InTurn,
    /// It has waited longest.
    First,
}

/// Whether the queue watches a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watched {
    Now,
    /// The system has run out of something, so it is tried again later.
    Later,
    /// The connection had to be closed.
    Closed,
}

impl<H: Host> EventLoop<H> {
    /// Receives from a connection with an event, and leaves it to be served together with its neighbours.
    pub(super) fn receive_ahead(&mut self, key: ConnectionKey, read_on: bool, available: Option<NonZeroU64>) {
        let may_borrow = self.lists.waiting() == 0;
        let Some(conversation) = self.connections.get_mut(key) else { return };
        conversation.readiness.report_readable(read_on, available);
        match conversation.receive_ahead(&mut self.means, may_borrow) {
            Ahead::Paused => self.pause(key),
            Ahead::Received(n) => {
                if self.lists.push_ahead(key, n) {
                    self.serve_ahead();
                }
            }
        }
    }

    /// Serves what was received from ahead. Only events add to that list, and none is handled meanwhile.
    pub(super) fn serve_ahead(&mut self) {
        let mut served = 0;
        while let Some(key) = self.lists.ahead(served) {
            self.serve_inlined(key, Borrow::InTurn);
            served += 1;
        }
        self.lists.clear_ahead();
    }

    pub(super) fn serve_unfinished(&mut self, most: usize) {
        for _ in 0..most {
            if let Some(key) = self.lists.pop_unfinished() {
                self.serve_listed(key, Borrow::InTurn);
            }
        }
    }

    /// Gives free buffers to those that have waited longest.
    pub(super) fn serve_waiting(&mut self) {
        let mut served = 0;
        for _ in 0..self.lists.waiting() {
            if served == LEFTOVERS_PER_TURN || !self.means.pool.can_lend() {
                return;
            }
            // Closed connections do not count, because a turn that met no others would do nothing.
            if let Some(key) = self.lists.pop_waiting().filter(|key| self.connections.contains_key(*key)) {
                served += 1;
                self.serve_listed(key, Borrow::First);
            }
        }
    }

    /// Serves a connection that was just taken from a list, unless an event has used up a share since it was put there.
    /// One that waits for a buffer keeps its place.
    fn serve_listed(&mut self, key: ConnectionKey, borrow: Borrow) {
        let Some(conversation) = self.connections.get_mut(key) else { return };
        match Lists::unlist(&mut conversation.listed) {
            Listed::Served if borrow == Borrow::InTurn => self.lists.push_ready(key, &mut conversation.listed),
            _ => self.serve(key, borrow),
        }
    }

    /// Serves a connection now.
    pub(super) fn serve(&mut self, key: ConnectionKey, borrow: Borrow) {
        self.serve_inlined(key, borrow);
    }

    /// [`serve`](EventLoop::serve) for [`serve_ahead`](EventLoop::serve_ahead), which serves nearly all messages. Inlined,
    /// it saves 22 of a message's 416 instructions.
    #[inline(always)]
    fn serve_inlined(&mut self, key: ConnectionKey, borrow: Borrow) {
        let may_borrow = borrow == Borrow::First || self.lists.waiting() == 0;
        let Some(conversation) = self.connections.get_mut(key) else { return };
        if conversation.pause != Pause::No {
            return self.serve_unusual(key, may_borrow);
        }
        let served = conversation.serve(&mut self.means, may_borrow);
        // Nothing follows from most messages. They need no second look at the connection, which saves 18 of 520
        // instructions.
        if served != Served::Waiting || !conversation.is_settled() {
            self.follow_up(key, served);
        }
    }

    /// Watches for room, or no longer, and puts the connection where it is served next.
    pub(super) fn follow_up(&mut self, key: ConnectionKey, served: Served) {
        if let Served::Closed(reason) = served {
            return self.close(key, reason);
        }
        let Some(conversation) = self.connections.get_mut(key) else { return };
        let want_write = conversation.needs_room() && served != Served::Paused;
        if want_write != conversation.write_watched {
            let watch = Watch::Write(&conversation.socket);
            let changed = match want_write {
                true => self.means.host.watch(watch, Target::Connection(key)),
                false => self.means.host.unwatch(watch),
            };
            if let Err(error) = changed {
                self.not_watched(key, &error);
                return;
            }
            conversation.write_watched = want_write;
        }
        match served {
            Served::Waiting if conversation.readiness.is_doubtful() => self.doubtful.push(key),
            Served::Waiting | Served::Closed(_) => {}
            Served::Unfinished => self.lists.push_unfinished(key, &mut conversation.listed),
            Served::NoBuffer => self.lists.push_waiting(key, &mut conversation.listed),
            Served::Paused => self.pause(key),
        }
    }

    /// Has the queue report the connection's input.
    pub(super) fn watch_input(&mut self, key: ConnectionKey) -> Watched {
        let Some(conversation) = self.connections.get_mut(key) else { return Watched::Closed };
        match self.means.host.watch(Watch::Read(&conversation.socket), Target::Connection(key)) {
            Ok(()) => {
                conversation.read_watched = true;
                Watched::Now
            }
            Err(error) => self.not_watched(key, &error),
        }
    }

    /// What follows when the queue does not do what a connection needs. If the system has run out of something, the
    /// connection keeps its bytes until a later try, and no new ones are accepted meanwhile.
    fn not_watched(&mut self, key: ConnectionKey, error: &io::Error) -> Watched {
        if is_shortage(error) {
            self.means.counters().accept_pauses.add(1);
            self.acceptor.pause(error, self.means.now, &mut self.means.host);
            self.pause(key);
            return Watched::Later;
        }
        if let Some(conversation) = self.connections.get(key) {
            tracing::debug!(target: "parrot_server", peer = %conversation.peer, %error, "cannot watch a connection");
        }
        self.close(key, CloseReason::Failed);
        Watched::Closed
    }

    pub(super) fn close(&mut self, key: ConnectionKey, reason: CloseReason) {
        let Some(mut conversation) = self.connections.remove(key) else { return };
        conversation.connection.close(reason);
        conversation.connection.release(&mut self.means.pool);
        // Before the close, because epoll would keep the registration while a duplicate of the descriptor is open.
        let Conversation { socket, peer, read_watched, write_watched, .. } = conversation;
        if read_watched {
            let _ = self.means.host.unwatch(Watch::Read(&socket));
        }
        if write_watched {
            let _ = self.means.host.unwatch(Watch::Write(&socket));
        }
        match reason {
            CloseReason::ResetFault => self.means.host.reset(socket),
            _ => self.means.host.close(socket),
        }
        self.means.counters().closed(reason);
        tracing::debug!(target: "parrot_server", %peer, "closed: {reason}");
        // A descriptor is free again.
        self.acceptor.resume(self.means.now, &mut self.means.host);
        self.deadlines.tidy(self.connections.len(), |at, due| is_wanted(&self.connections, at, due));
        self.lists.tidy_waiting(self.connections.len(), |key| self.connections.contains_key(key));
    }
}
