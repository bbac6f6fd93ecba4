//! Signals, and the end that the first of them begins.

use std::ops::ControlFlow;

use parrot_conn::CloseReason;
use parrot_kqueue::Signal;

use super::{Backlog, EventLoop};
use crate::connection_key::ConnectionKey;
use crate::server::Ended;
use crate::system::System;

impl<S: System> EventLoop<S> {
    pub(super) fn handle_signal(&mut self, signal: Signal, count: u64) -> ControlFlow<Ended> {
        match signal {
            Signal::Interrupt | Signal::Terminate => {
                if std::mem::replace(&mut self.signalled, true) || count > 1 {
                    return ControlFlow::Break(Ended::Signal(signal.number()));
                }
                let drain_timeout = self.config.drain_timeout;
                let rest = match self.connections.len() {
                    0 => "none is open".to_owned(),
                    1 => format!("the one open has {drain_timeout:?} to end"),
                    open => format!("the {open} open ones have {drain_timeout:?} to end"),
                };
                tracing::info!(
                    target: "parrot_server",
                    "stopping: no new connections; {rest} (a second signal ends at once)"
                );
                self.start_drain();
            }
            Signal::Hangup => (self.on_hangup)(),
            // SIGUSR1, and SIGINFO where it exists.
            _ => (self.on_statistics)(&self.shared.counters.snapshot()),
        }
        ControlFlow::Continue(())
    }

    /// From here on nothing new is accepted but what waits in the backlog, and every connection ends at its next pause.
    pub(super) fn start_drain(&mut self) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        self.drain_until = self.now.checked_add(self.config.drain_timeout);
        // Those in line for a buffer are looked at too: the quiet ones among them need none.
        self.unfinished.extend(self.in_line.drain(..));
        let keys: Vec<ConnectionKey> = self.connections.keys().collect();
        for key in keys {
            if let Some(conversation) = self.connections.get_mut(key) {
                conversation.drain();
            }
            self.leave_unfinished(key);
        }
    }

    /// Whether no connection waits in a listener's backlog, after accepting what can be accepted.
    fn is_drained(&mut self, index: usize) -> bool {
        if !self.acceptor.is_paused() && self.accept(index) == Backlog::Empty {
            return true;
        }
        // Out of descriptors, accept does not say whether any waits. Those that do have until the time-out for a
        // descriptor to become free.
        self.acceptor.is_paused()
            && match self.acceptor.listener(index) {
                Some(listener) => matches!(self.system.is_waiting(listener), Ok(false)),
                None => true,
            }
    }

    pub(super) fn continue_drain(&mut self) -> ControlFlow<Ended> {
        if !self.draining {
            return ControlFlow::Continue(());
        }
        let late = self.drain_until.is_some_and(|until| until <= self.now);
        for index in self.acceptor.tokens() {
            if late || self.is_drained(index) {
                self.acceptor.close(index, &mut self.system, &mut self.queue);
            }
        }
        if late {
            let keys: Vec<ConnectionKey> = self.connections.keys().collect();
            for key in keys {
                self.close(key, CloseReason::DrainTimeout);
            }
        }
        match self.connections.is_empty() && self.acceptor.is_closed() {
            true => ControlFlow::Break(Ended::Drained),
            false => ControlFlow::Continue(()),
        }
    }
}
