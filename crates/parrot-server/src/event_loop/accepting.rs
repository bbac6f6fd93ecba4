//! New connections: how many a turn accepts, and what each of them needs before it is served.

use std::net::SocketAddr;

use parrot_conn::CloseReason;

use super::acceptor::AcceptError;
use super::conversation::Conversation;
use super::deadlines::Due;
use super::state::EventLoop;
use crate::host::{Host, Target, Watch};

/// The most connections accepted from one listener in one turn, so that a storm of them does not starve those that are
/// open.
const ACCEPTS_PER_TURN: usize = 64;

/// What is known of the connections in a backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backlog {
    /// There were none when last asked.
    Empty,
    /// There may be more.
    Unknown,
}

impl<H: Host> EventLoop<H> {
    /// Accepts from one listener as many connections as a turn allows.
    pub(super) fn accept(&mut self, index: usize) -> Backlog {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.acceptor.listener(index) else { return Backlog::Empty };
            let error = match self.means.host.accept(listener) {
                Ok((socket, peer)) => {
                    self.open(socket, peer);
                    continue;
                }
                Err(error) => error,
            };
            let counters = self.means.counters();
            match AcceptError::from(&error) {
                AcceptError::Empty => return Backlog::Empty,
                AcceptError::Next => {
                    counters.accept_failures.add(1);
                    continue;
                }
                AcceptError::Exhausted => counters.accept_pauses.add(1),
                AcceptError::Other => counters.accept_failures.add(1),
            }
            self.acceptor.pause(&error, self.means.now, &mut self.means.host);
            return Backlog::Unknown;
        }
        Backlog::Unknown
    }

    fn open(&mut self, socket: H::Socket, peer: SocketAddr) {
        if self.limits.max_connections.is_some_and(|max| self.connections.len() >= max) {
            self.means.counters().refused.add(1);
            self.means.host.close(socket);
            return;
        }
        // On macOS these calls fail with EINVAL when the peer has gone already (socket2#631). That ends this connection
        // only.
        if let Err(error) = self.means.host.set_up(&socket) {
            tracing::debug!(target: "parrot_server", %peer, %error, "cannot set up a connection");
            self.means.counters().set_up_failures.add(1);
            self.means.host.close(socket);
            return;
        }
        let connection = self.means.pool.connection(self.means.now);
        let key = self.connections.insert(Conversation::new(socket, peer, connection));
        let Some(conversation) = self.connections.get_mut(key) else { return };
        self.means.counters().accepted.add(1);
        if let Err(error) = self.means.host.watch(Watch::Read(&conversation.socket), Target::Connection(key)) {
            tracing::debug!(target: "parrot_server", %peer, %error, "cannot watch a connection");
            self.close(key, CloseReason::Failed);
            return;
        }
        tracing::debug!(target: "parrot_server", %peer, "connected");
        if let Some(idle) = self.limits.idle_timeout
            && let Some(due) = conversation.connection.next_timeout(idle)
        {
            self.deadlines.push(due, Due::Idle(key));
        }
        if self.is_draining()
            && let Some(conversation) = self.connections.get_mut(key)
        {
            conversation.drain();
            self.lists.push_unfinished(key, &mut conversation.listed);
        }
    }
}
