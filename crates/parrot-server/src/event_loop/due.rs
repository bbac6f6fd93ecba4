//! What is due later: the end of a connection that was idle, and another try where memory lacked.

use std::time::Duration;

use parrot_conn::Connection;

use super::{Borrow, EventLoop, LEFTOVERS_PER_TURN};
use crate::connection_key::ConnectionKey;
use crate::conversation::{Look, Served};
use crate::pages::Pages;
use crate::system::System;

/// How long a connection is left alone when the system lacks memory for it.
const MEMORY_PAUSE: Duration = Duration::from_millis(20);

/// A turn is long if it takes more than one such part of the idle time-out: what shorter ones add is not looked at, and
/// of long ones there is only room for so many in a time-out.
const PARTS_OF_IDLE: u32 = 8;

/// What a deadline is for. Of two at the same time the first comes first: whoever is tried again may be found not idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The system may have memory for the connection again.
    Retry(ConnectionKey),
    /// The connection may have been idle for too long.
    Idle(ConnectionKey),
}

impl Due {
    pub(super) fn connection(self) -> ConnectionKey {
        match self {
            Due::Idle(key) | Due::Retry(key) => key,
        }
    }
}

impl<S: System> EventLoop<S> {
    /// Leaves a connection alone that the system lacks memory for.
    pub(super) fn pause(&mut self, key: ConnectionKey) {
        if let Some(conversation) = self.connections.get_mut(key) {
            let until = self.now + MEMORY_PAUSE;
            conversation.paused_until = Some(until);
            self.shared.counters.retries.add(1);
            self.deadlines.push(until, Due::Retry(key));
        }
    }

    /// Closes a connection that was idle for too long, or looks again when it will have been.
    ///
    /// What was heard of it may not be all there is: after a stop of the process thousands of events wait for lists that
    /// are too short for them, without a buffer nothing is received, and Linux reports room only once a third of the
    /// socket's buffer is free (sk_stream_is_writeable in include/net/sock.h). So both ways are tried first, and who has
    /// sent something, or waits for memory, has been kept waiting and is not idle.
    fn handle_idle(&mut self, key: ConnectionKey, idle: Duration) {
        let now = self.now;
        let is_due = |connection: &Connection<Pages>| connection.next_timeout(idle).is_some_and(|due| due <= now);
        let Some(conversation) = self.connections.get_mut(key) else { return };
        if is_due(&conversation.connection) && !conversation.connection.to_send().is_empty() {
            conversation.note_writable();
            self.serve(key, Borrow::InTurn);
        }
        let Some(conversation) = self.connections.get_mut(key) else { return };
        if is_due(&conversation.connection) && conversation.paused_until.is_none() {
            match conversation.look_for_input(&mut self.system) {
                Look::None => conversation.connection.handle_timeout(now, idle),
                Look::Waiting => self.serve(key, Borrow::InTurn),
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

    /// Calls are stamped with the time at which their turn began. If it has taken long since, because the process was
    /// stopped or a call slow, who was active in it was so until now: nobody could answer meanwhile.
    pub(super) fn extend_activity(&mut self) {
        let Some(idle) = self.config.idle_timeout else { return };
        let (began, now) = (self.now, self.system.now());
        if now.saturating_duration_since(began) > idle / PARTS_OF_IDLE {
            for conversation in self.connections.values_mut() {
                conversation.connection.extend_activity(began, now);
            }
        }
    }

    pub(super) fn handle_deadlines(&mut self) {
        // Thousands may be due at once; the next turn goes on at once with what is left, after what has come meanwhile.
        for _ in 0..LEFTOVERS_PER_TURN {
            let Some(due) = self.deadlines.pop_due(self.now) else { break };
            let key = due.connection();
            let Some(conversation) = self.connections.get_mut(key) else { continue };
            match (due, self.config.idle_timeout) {
                (Due::Retry(_), _) => {
                    conversation.paused_until = None;
                    // Room was not watched meanwhile.
                    conversation.note_writable();
                    self.serve(key, Borrow::InTurn);
                }
                (Due::Idle(_), Some(idle)) => self.handle_idle(key, idle),
                (Due::Idle(_), None) => {}
            }
        }
        if self.acceptor.next_deadline().is_some_and(|due| due <= self.now) {
            self.acceptor.resume(self.now, &mut self.system, &mut self.queue);
        }
    }
}
