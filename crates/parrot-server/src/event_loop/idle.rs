//! What is due later: closing a connection that was idle, and another try after the system had no memory.

use std::time::Duration;

use parrot_conn::CloseReason;

use super::connections::Connections;
use super::conversation::{Look, Pause, Served};
use super::deadlines::Due;
use super::lists::LEFTOVERS_PER_TURN;
use super::moment::Moment;
use super::serving::{Borrow, Watched};
use super::state::EventLoop;
use crate::host::{ConnectionKey, Host};

/// How long a connection is left alone when the system has no memory for it.
const MEMORY_PAUSE: Duration = Duration::from_millis(20);

/// Whether a deadline still has something to decide.
pub(super) fn is_wanted<Socket>(connections: &Connections<Socket>, at: Moment, due: Due) -> bool {
    match due {
        Due::Extras(key) => {
            connections.get(key).is_some_and(|conversation| conversation.awaits_header() || conversation.asks_at(at))
        }
        Due::Retry(key) | Due::Idle(key) => connections.contains_key(key),
    }
}

impl<H: Host> EventLoop<H> {
    /// Leaves a connection alone that the system has no memory for.
    pub(super) fn pause(&mut self, key: ConnectionKey) {
        if let Some(conversation) = self.connections.get_mut(key) {
            conversation.pause = Pause::Yes;
            self.means.counters().retries.add(1);
            self.deadlines.push(self.means.now + MEMORY_PAUSE, Due::Retry(key));
        }
    }

    /// When a connection will have been idle for too long. `None` if it is closed, or if the clock has no such time.
    fn next_timeout(&self, key: ConnectionKey, idle: Duration) -> Option<Moment> {
        let conversation = self.connections.get(key)?;
        self.long_turns.latest(conversation.last_activity).checked_add(idle)
    }

    /// Closes a connection that was idle for too long, or sets the time to look again.
    ///
    /// The loop may not know all there is. After the process was stopped, a wait cannot report thousands of events at once.
    /// Without a buffer nothing is received. Linux reports room only once a third of the socket's buffer is free
    /// (sk_stream_is_writeable in include/net/sock.h). So both directions are tried first, and a peer that has sent something,
    /// or waits for memory, is not idle.
    fn handle_idle(&mut self, key: ConnectionKey, idle: Duration) {
        let now = self.means.now;
        let is_due = |this: &Self| this.next_timeout(key, idle).is_some_and(|due| due <= now);
        if is_due(self)
            && let Some(conversation) = self.connections.get_mut(key)
            && conversation.connection.has_pending()
        {
            conversation.readiness.report_writable();
            self.serve(key, Borrow::InTurn);
        }
        if is_due(self)
            && let Some(conversation) = self.connections.get_mut(key)
            && !conversation.pause.is_for_memory()
        {
            match conversation.look_for_input(&mut self.means) {
                Look::None => conversation.connection.close(CloseReason::IdleTimeout),
                Look::Input => self.serve(key, Borrow::InTurn),
                Look::Unknown => self.follow_up(key, Served::Paused),
            }
        }
        let due = self.next_timeout(key, idle).filter(|due| *due > now);
        let Some(conversation) = self.connections.get_mut(key) else { return };
        if let Some(reason) = conversation.connection.close_reason() {
            return self.close(key, reason);
        }
        if due.is_none() && conversation.pause.is_for_memory() {
            conversation.pause = Pause::Idle;
        } else if let Some(due) = due.or_else(|| now.checked_add(idle)) {
            self.deadlines.push(due, Due::Idle(key));
        }
    }

    /// Has another idle timeout hold, which counts from a connection's last byte.
    pub(super) fn restart_idle_timeouts(&mut self) {
        self.deadlines.discard_idle();
        let Some(idle) = self.limits.idle_timeout else { return };
        for (key, conversation) in self.connections.iter() {
            // The end of such a pause sets the deadline.
            if conversation.pause == Pause::Idle {
                continue;
            }
            if let Some(due) = self.long_turns.latest(conversation.last_activity).checked_add(idle) {
                self.deadlines.push(due, Due::Idle(key));
            }
        }
    }

    /// Gives a connection's PROXY header until this time.
    pub(super) fn await_header(&mut self, key: ConnectionKey, until: Moment) {
        if let Some(extras) = self.connections.get_mut(key).and_then(|conversation| conversation.extras.as_mut()) {
            extras.header_until = Some(until);
            self.deadlines.push(until, Due::Extras(key));
        }
    }

    /// Closes a connection whose PROXY header is not complete. After the process was stopped, the rest of it may be in the
    /// socket without an event, so the connection is served first.
    pub(super) fn handle_header_timeout(&mut self, key: ConnectionKey) {
        let Some(conversation) = self.connections.get_mut(key).filter(|conversation| conversation.awaits_header())
        else {
            return;
        };
        conversation.readiness.suspect_input();
        self.serve(key, Borrow::InTurn);
        let Some(conversation) = self.connections.get_mut(key).filter(|conversation| conversation.awaits_header())
        else {
            return;
        };
        // What could not be received, for lack of memory or of a share of the turn, may complete the header.
        if conversation.pause.is_for_memory() || conversation.readiness.is_readable() {
            return self.await_header(key, self.means.now + MEMORY_PAUSE);
        }
        self.means.refuse_header(&conversation.peer, "its PROXY header has not come in time");
        self.close(key, CloseReason::HeaderTimeout);
    }

    /// Notes the turn if it has taken so long that idle times depend on it.
    pub(super) fn note_long_turn(&mut self, ended: Moment) {
        if let Some(idle) = self.limits.idle_timeout {
            self.long_turns.note(self.means.now, ended, idle);
        }
    }

    pub(super) fn handle_deadlines(&mut self) {
        // Thousands may be due at once. The next turn does not sleep and handles the rest, after new events.
        for _ in 0..LEFTOVERS_PER_TURN {
            let Some((at, due)) = self.deadlines.pop_due(self.means.now) else { break };
            let key = due.connection();
            let Some(conversation) = self.connections.get_mut(key) else { continue };
            match (due, self.limits.idle_timeout) {
                (Due::Retry(_), _) => {
                    let usual = conversation.usual_pause();
                    if std::mem::replace(&mut conversation.pause, usual) == Pause::Idle {
                        self.deadlines.push(self.means.now, Due::Idle(key));
                    }
                    if !conversation.read_watched && self.watch_input(key) != Watched::Now {
                        continue;
                    }
                    let Some(conversation) = self.connections.get_mut(key) else { continue };
                    // Room was not watched for meanwhile.
                    conversation.readiness.report_writable();
                    self.serve(key, Borrow::InTurn);
                }
                (Due::Extras(_), _) => self.handle_extras(key, at),
                (Due::Idle(_), Some(idle)) => self.handle_idle(key, idle),
                (Due::Idle(_), None) => {}
            }
        }
        if self.datagrams.next_deadline().is_some_and(|due| due <= self.means.now) {
            self.datagrams.check(&mut self.means);
        }
        if self.acceptor.next_deadline().is_some_and(|due| due <= self.means.now) {
            self.acceptor.resume(self.means.now, &mut self.means.host);
        }
        if let Some(interval) = &mut self.hooks.interval
            && interval.due.is_some_and(|due| due <= self.means.now)
        {
            interval.due = self.means.now.checked_add(interval.length);
            (interval.call)();
        }
    }
}
