//! What is due later: the end of a connection that was idle, and another try where memory lacked.

use std::time::Duration;

use super::{Borrow, EventLoop, LEFTOVERS_PER_TURN};
use crate::connection_key::ConnectionKey;
use crate::system::System;

/// How long a connection is left alone when the system lacks memory for it.
const MEMORY_PAUSE: Duration = Duration::from_millis(20);

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The connection may have been idle for too long.
    Idle(ConnectionKey),
    /// The system may have memory for the connection again.
    Retry(ConnectionKey),
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
            conversation.paused = true;
            self.shared.counters.retries.add(1);
            self.deadlines.push(self.now + MEMORY_PAUSE, Due::Retry(key));
        }
    }

    /// Closes a connection that was idle for too long, or looks again when it will have been.
    fn handle_idle(&mut self, key: ConnectionKey, idle: Duration) {
        let Some(conversation) = self.connections.get_mut(key) else { return };
        // A peer that reads slowly is not idle, but Linux reports room only once a third of the socket's buffer is free
        // (sk_stream_is_writeable in include/net/sock.h): what it takes now counts.
        let is_due = conversation.connection.next_timeout(idle).is_some_and(|due| due <= self.now);
        if is_due && conversation.waits_for_room() {
            conversation.note_writable();
            self.serve(key, Borrow::InTurn);
        }
        let Some(conversation) = self.connections.get_mut(key) else { return };
        conversation.connection.handle_timeout(self.now, idle);
        if let Some(reason) = conversation.connection.close_reason() {
            self.close(key, reason);
        } else if let Some(due) = conversation.connection.next_timeout(idle) {
            self.deadlines.push(due, Due::Idle(key));
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
                    conversation.paused = false;
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
