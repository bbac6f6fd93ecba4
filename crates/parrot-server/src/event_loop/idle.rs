//! What is due later: closing a connection that was idle, and another try after the system had no memory.

use std::time::{Duration, Instant};

use parrot_conn::{CloseReason, Connection};
use slotmap::SlotMap;

use super::conversation::{Conversation, Look, Served};
use super::deadlines::Due;
use super::lists::LEFTOVERS_PER_TURN;
use super::serving::{Borrow, Watched};
use super::state::EventLoop;
use crate::host::{ConnectionKey, Host, Pages};

/// How long a connection is left alone when the system has no memory for it.
const MEMORY_PAUSE: Duration = Duration::from_millis(20);

/// A turn is long if it takes more than this fraction of the idle timeout. What shorter turns add is ignored, because only
/// eight of the long ones fit into a timeout.
const PARTS_OF_IDLE: u32 = 8;

/// Whether a deadline still has something to decide.
pub(super) fn is_wanted<Socket>(connections: &SlotMap<ConnectionKey, Conversation<Socket>>, due: Due) -> bool {
    match due {
        Due::Header(key) => connections.get(key).is_some_and(Conversation::awaits_header),
        Due::Retry(key) | Due::Idle(key) => connections.contains_key(key),
    }
}

impl<H: Host> EventLoop<H> {
    /// Leaves a connection alone that the system has no memory for.
    pub(super) fn pause(&mut self, key: ConnectionKey) {
        if let Some(conversation) = self.connections.get_mut(key) {
            let until = self.means.now + MEMORY_PAUSE;
            conversation.paused_until = Some(until);
            self.means.counters().retries.add(1);
            self.deadlines.push(until, Due::Retry(key));
        }
    }

    /// Closes a connection that was idle for too long, or sets the time to look again.
    ///
    /// The loop may not know all there is. After the process was stopped, a wait cannot report thousands of events at once.
    /// Without a buffer nothing is received. Linux reports room only once a third of the socket's buffer is free
    /// (sk_stream_is_writeable in include/net/sock.h). So both directions are tried first, and a peer that has sent something,
    /// or waits for memory, is not idle.
    fn handle_idle(&mut self, key: ConnectionKey, idle: Duration) {
        let now = self.means.now;
        let is_due = |connection: &Connection<Pages>| connection.next_timeout(idle).is_some_and(|due| due <= now);
        let Some(conversation) = self.connections.get_mut(key) else { return };
        if is_due(&conversation.connection) && !conversation.connection.to_send().is_empty() {
            conversation.readiness.report_writable();
            self.serve(key, Borrow::InTurn);
        }
        let Some(conversation) = self.connections.get_mut(key) else { return };
        if is_due(&conversation.connection) && conversation.paused_until.is_none() {
            match conversation.look_for_input(&mut self.means.host) {
                Look::None => conversation.connection.handle_timeout(now, idle),
                Look::Input => self.serve(key, Borrow::InTurn),
                Look::Unknown => self.follow_up(key, Served::Paused),
            }
        }
        let Some(conversation) = self.connections.get(key) else { return };
        if let Some(reason) = conversation.connection.close_reason() {
            return self.close(key, reason);
        }
        let due = conversation.connection.next_timeout(idle).filter(|due| *due > now);
        if let Some(due) = due.or(conversation.paused_until).or_else(|| now.checked_add(idle)) {
            self.deadlines.push(due, Due::Idle(key));
        }
    }

    /// Closes a connection whose PROXY header is not complete. After the process was stopped, the rest of it may be in the
    /// socket without an event, so the connection is served first.
    fn handle_header_timeout(&mut self, key: ConnectionKey) {
        let Some(conversation) = self.connections.get_mut(key).filter(|conversation| conversation.awaits_header())
        else {
            return;
        };
        conversation.readiness.suspect_input();
        self.serve(key, Borrow::InTurn);
        let Some(conversation) = self.connections.get(key).filter(|conversation| conversation.awaits_header()) else {
            return;
        };
        // What could not be received, for lack of memory or of a share of the turn, may complete the header.
        if conversation.paused_until.is_some() || conversation.readiness.is_readable() {
            let again = conversation.paused_until.unwrap_or(self.means.now + MEMORY_PAUSE);
            return self.deadlines.push(again, Due::Header(key));
        }
        self.means.refuse_header(&conversation.peer, "its PROXY header has not come in time");
        self.close(key, CloseReason::HeaderTimeout);
    }

    /// Calls are stamped with the time at which their turn began. If the turn has taken long since, because the process was
    /// stopped or a call was slow, connections that were active in it count as active until now.
    pub(super) fn extend_activity(&mut self, now: Instant) {
        let Some(idle) = self.limits.idle_timeout else { return };
        let began = self.means.now;
        if now.saturating_duration_since(began) > idle / PARTS_OF_IDLE {
            for conversation in self.connections.values_mut() {
                conversation.connection.extend_activity(began, now);
            }
        }
    }

    pub(super) fn handle_deadlines(&mut self) {
        // Thousands may be due at once. The next turn does not sleep and handles the rest, after new events.
        for _ in 0..LEFTOVERS_PER_TURN {
            let Some(due) = self.deadlines.pop_due(self.means.now) else { break };
            let key = due.connection();
            let Some(conversation) = self.connections.get_mut(key) else { continue };
            match (due, self.limits.idle_timeout) {
                (Due::Retry(_), _) => {
                    conversation.paused_until = None;
                    if !conversation.read_watched && self.watch_input(key) != Watched::Now {
                        continue;
                    }
                    let Some(conversation) = self.connections.get_mut(key) else { continue };
                    // Room was not watched for meanwhile.
                    conversation.readiness.report_writable();
                    self.serve(key, Borrow::InTurn);
                }
                (Due::Header(_), _) => self.handle_header_timeout(key),
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
    }
}
