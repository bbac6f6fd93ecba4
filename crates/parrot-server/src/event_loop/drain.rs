//! Signals, and the drain that the first of them begins.

use std::ops::ControlFlow;
use std::time::Duration;

use parrot_conn::CloseReason;
use parrot_kqueue::Signal;

use super::accepting::Backlog;
use super::moment::Moment;
use super::state::{Ended, EventLoop};
use crate::host::{ConnectionKey, Host};
use crate::stage::{Stage, StageChange};

impl<H: Host> EventLoop<H> {
    pub(super) fn handle_signal(&mut self, signal: Signal, count: u64) -> ControlFlow<Ended> {
        match signal {
            Signal::Interrupt | Signal::Terminate => {
                for _ in 0..count {
                    self.advance(signal)?;
                }
            }
            Signal::Hangup => {
                (self.hooks.hangup)();
                self.make_changes();
            }
            Signal::User1 => self.report_statistics(),
            #[cfg(not(target_os = "linux"))]
            Signal::Info => self.report_statistics(),
            // The server watches no others.
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// Each signal takes the server a stage further.
    fn advance(&mut self, signal: Signal) -> ControlFlow<Ended> {
        match self.stage {
            Stage::Draining if self.signalled => return ControlFlow::Break(Ended::Signal(signal.number())),
            // Somebody at the terminal has no load balancer to wait for.
            Stage::Serving if signal == Signal::Terminate && !self.limits.drain_delay.is_zero() => self.leave(),
            _ => self.drain_by_signal(),
        }
        ControlFlow::Continue(())
    }

    /// Begins the time in which load balancers find out that new connections should go elsewhere.
    fn leave(&mut self) {
        let (delay, drain) = (self.limits.drain_delay, self.limits.drain_timeout);
        tracing::info!(
            target: "parrot_server",
            "leaving: connections are accepted for {delay:?} more (a second signal begins the drain at once)"
        );
        self.begin(Stage::Leaving, delay, delay.saturating_add(drain));
    }

    /// Begins the drain once the time to leave is over.
    pub(super) fn leave_in_time(&mut self) {
        if self.stage == Stage::Leaving && self.stage_until.is_some_and(|until| until <= self.means.now) {
            self.drain_by_signal();
        }
    }

    fn drain_by_signal(&mut self) {
        let drain_timeout = self.limits.drain_timeout;
        let open = match self.connections.len() {
            0 => "no connection is open".to_owned(),
            1 => format!("1 open connection has {drain_timeout:?} to end"),
            open => format!("{open} open connections have {drain_timeout:?} to end"),
        };
        tracing::info!(
            target: "parrot_server",
            "draining: no new connections are accepted, {open} (a second signal ends at once)"
        );
        self.start_drain();
        self.signalled = true;
    }

    /// Begins a stage that lasts this long, in a server that ends after `at_most`.
    fn begin(&mut self, stage: Stage, lasts: Duration, at_most: Duration) {
        self.stage = stage;
        self.stage_until = self.means.now.checked_add(lasts);
        self.means.shared.stage.enter(stage);
        (self.hooks.stage)(&StageChange { stage, connections: self.connections.len(), at_most });
    }

    fn open_connections(&self) -> Vec<ConnectionKey> {
        self.connections.keys().collect()
    }

    fn report_statistics(&mut self) {
        self.datagrams.check(&mut self.means);
        (self.hooks.statistics)(&self.means.counters().snapshot());
    }

    /// From here on only the backlog is accepted, and every connection ends at its next pause. UDP is over at once.
    pub(super) fn start_drain(&mut self) {
        if self.is_draining() {
            return;
        }
        let drain_timeout = self.limits.drain_timeout;
        self.begin(Stage::Draining, drain_timeout, drain_timeout);
        self.lists.stop_waiting();
        self.datagrams.close(&mut self.means, |_| true);
        for key in self.open_connections() {
            if let Some(conversation) = self.connections.get_mut(key) {
                conversation.drain();
                self.lists.push_ready(key, &mut conversation.listed);
            }
        }
        let until = self.means.now + drain_timeout;
        for index in self.acceptor.indices() {
            self.close_listener(index, until);
        }
    }

    /// Closes a listener once its backlog is empty, or at this time.
    ///
    /// Another process that holds a given listener serves its backlog. Closing it here resets nothing while there is one. It
    /// is closed before the turn's next event, which may be a connection to it.
    pub(super) fn close_listener(&mut self, index: usize, until: Moment) {
        match self.acceptor.listener(index) {
            Some(open) if open.given => self.acceptor.close(index, &mut self.means.host),
            Some(_) => self.acceptor.close_later(index, until),
            None => {}
        }
    }

    /// Closes those of the listeners that are to be closed whose backlogs are empty, or have been served long enough.
    fn continue_closing(&mut self) {
        if !self.acceptor.is_closing() {
            return;
        }
        for index in self.acceptor.indices() {
            let Some(until) = self.acceptor.closes_at(index) else { continue };
            if until <= self.means.now || self.is_drained(index) {
                self.acceptor.close(index, &mut self.means.host);
            }
        }
    }

    /// Accepts what can be accepted. Returns whether the listener's backlog is empty.
    fn is_drained(&mut self, index: usize) -> bool {
        if self.acceptor.listener(index).is_none() {
            return true;
        }
        if !self.acceptor.is_paused() && self.accept(index, None) == Backlog::Empty {
            return true;
        }
        // Without descriptors, accept does not say whether the backlog is empty. What is in it has until the drain timeout
        // for a descriptor to become free.
        self.acceptor.is_paused()
            && match self.acceptor.listener(index) {
                Some(open) => matches!(self.means.host.has_backlog(&open.listener), Ok(false)),
                None => true,
            }
    }

    pub(super) fn continue_drain(&mut self) -> ControlFlow<Ended> {
        self.continue_closing();
        if !self.is_draining() {
            return ControlFlow::Continue(());
        }
        if self.stage_until.is_some_and(|until| until <= self.means.now) {
            for key in self.open_connections() {
                self.close(key, CloseReason::DrainTimeout);
            }
        }
        match self.connections.is_empty() && self.acceptor.is_closed() {
            true => ControlFlow::Break(Ended::Drained),
            false => ControlFlow::Continue(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;

    use crate::config::Settings;
    use crate::event_loop::EventLoop;
    use crate::host::NativeHost;
    use crate::listen::{Listen, ListenOptions, Opened};

    #[test]
    fn a_drain_leaves_the_next_event_of_a_given_listener() {
        let options = ListenOptions::default();
        let given = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut opened = Opened::default();
        Listen::from(given.try_clone().unwrap()).open(&options, &mut opened).unwrap();
        let host = NativeHost::new(options.socket).unwrap();
        let mut event_loop = EventLoop::new(host, opened, Settings::default(), Arc::default()).unwrap();
        let client = TcpStream::connect(given.local_addr().unwrap()).unwrap();
        event_loop.start_drain();
        event_loop.accept(0, None);
        assert_eq!(event_loop.snapshot().connections, 0);
        given.set_nonblocking(false).unwrap();
        assert_eq!(given.accept().unwrap().1, client.local_addr().unwrap());
    }
}
