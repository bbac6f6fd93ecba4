//! New connections: how many a turn accepts, and what each of them needs before it is served.

use std::num::NonZeroU64;

use super::acceptor::AcceptError;
use super::conversation::{Conversation, Pause};
use super::deadlines::Due;
use super::extras::Extras;
use super::faults::Welcome;
use super::serving::Watched;
use super::state::EventLoop;
use crate::host::Host;
use crate::peer::Peer;

/// The most connections accepted from one listener in one turn, so that a storm of them does not starve those that are
/// open. It is more than the longest backlog that most systems allow by default (128, of which macOS and FreeBSD make 192),
/// because a burst that fills the backlog is reset or delayed.
const ACCEPTS_PER_TURN: usize = 256;

/// What is known of the connections in a backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backlog {
    /// There were none when last asked.
    Empty,
    /// There may be more.
    Unknown,
}

impl<H: Host> EventLoop<H> {
    /// Accepts from one listener as many connections as a turn allows. If the system says how many are in the backlog, no
    /// call is made to see that it is empty.
    pub(super) fn accept(&mut self, index: usize, available: Option<NonZeroU64>) -> Backlog {
        let available =
            available.map_or(usize::MAX, |available| usize::try_from(available.get()).unwrap_or(usize::MAX));
        for _ in 0..available.min(ACCEPTS_PER_TURN) {
            let Some(open) = self.acceptor.listener(index) else { return Backlog::Empty };
            let error = match self.means.host.accept(&open.listener) {
                Ok((socket, peer)) => {
                    if self.open(index, socket, peer) == Watched::Later {
                        return Backlog::Unknown;
                    }
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

    fn open(&mut self, index: usize, socket: H::Socket, peer: Peer) -> Watched {
        let Some(open) = self.acceptor.listener(index) else { return Watched::Closed };
        let faulty = match open.faults.as_ref().or(self.faults.as_ref()).map(|faults| faults.welcome(&self.means)) {
            None => None,
            Some(Welcome::Served(faulty)) => faulty,
            Some(Welcome::Refused) => {
                tracing::debug!(target: "parrot_server", %peer, "reset at once by fault refuse");
                self.means.host.reset(socket);
                return Watched::Closed;
            }
        };
        if self.limits.max_connections.is_some_and(|max| self.connections.len() >= max) {
            self.means.counters().refused.add(1);
            self.means.host.close(socket);
            return Watched::Closed;
        }
        if open.proxy_protocol && !self.proxy.permits(&peer) {
            self.means.refuse_header(&peer, "it may not send a PROXY header");
            self.means.counters().untrusted.add(1);
            self.means.host.close(socket);
            return Watched::Closed;
        }
        // On macOS these calls fail with EINVAL when the peer has gone already (socket2#631). That ends this connection
        // only.
        if let Err(error) = self.means.host.set_up(&socket, &open.listener) {
            tracing::debug!(target: "parrot_server", %peer, %error, "cannot set up a connection");
            self.means.counters().set_up_failures.add(1);
            self.means.host.close(socket);
            return Watched::Closed;
        }
        let connection = self.means.pool.connection();
        self.means.counters().accepted.add(1);
        open.accepted.add(1);
        let number = self.means.counters().accepted.get();
        let since = faulty.as_ref().map_or(self.means.now, |faulty| faulty.since());
        let extras = Extras::new(open.proxy_protocol, &self.replies, &open.label, number, faulty);
        let key = self.connections.insert(Conversation::new(socket, peer, connection, self.means.now, extras));
        let watched = self.watch_input(key);
        let draining = self.is_draining();
        let Some(conversation) = self.connections.get_mut(key) else { return watched };
        tracing::debug!(target: "parrot_server", %peer, "connected");
        if let Some(idle) = self.limits.idle_timeout
            && let Some(due) = conversation.last_activity.checked_add(idle)
        {
            self.deadlines.push(due, Due::Idle(key));
        }
        if conversation.awaits_header() {
            if let Some(due) = since.checked_add(self.proxy.timeout) {
                self.await_header(key, due);
            }
        } else {
            conversation.introduce(&mut self.means.host);
        }
        let Some(conversation) = self.connections.get_mut(key) else { return watched };
        if draining {
            conversation.drain();
        }
        if draining || conversation.readiness.is_readable() || conversation.pause == Pause::Faults {
            self.lists.push_ready(key, &mut conversation.listed);
        }
        watched
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::sync::Arc;

    use super::*;
    use crate::config::Settings;
    use crate::host::NativeHost;
    use crate::listen::{Addresses, Listen, ListenOptions, Opened};

    #[test]
    fn a_burst_is_accepted_in_one_turn() {
        let options = ListenOptions::default();
        let mut opened = Opened::default();
        let listening = Listen::tcp(Addresses::localhost(0)).open(&options, &mut opened).unwrap();
        let address = listening[0].listening.address.socket_address().unwrap();
        let host = NativeHost::new(options.socket).unwrap();
        let mut event_loop = EventLoop::new(host, opened, Settings::default(), Arc::default()).unwrap();
        // Fewer than the shortest backlog that a system allows by default.
        let clients: Vec<TcpStream> = (0..120).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut most = 0;
        while event_loop.snapshot().connections < clients.len() {
            let before = event_loop.snapshot().connections;
            let _ = event_loop.turn().unwrap();
            most = most.max(event_loop.snapshot().connections - before);
        }
        // On other systems a connection can reach the backlog after its connect has returned (netisr(9) on FreeBSD).
        if cfg!(target_os = "linux") {
            assert_eq!(most, clients.len());
        }
    }
}
