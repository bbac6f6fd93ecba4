//! Changes to a loop that runs: its settings, and listeners that come and go.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::state::EventLoop;
use crate::config::{Limits, Settings};
use crate::faults::PlannedFaults;
use crate::host::Host;
use crate::listen::Opened;

/// A change that the loop makes before its next wait.
#[derive(Debug)]
pub enum Change<Listener, DatagramSocket> {
    /// These settings hold from now on.
    Settings(Box<Settings>),
    /// These are listened on too.
    Listen(Opened<Listener, DatagramSocket>),
    /// The listeners and UDP sockets with these addresses, as their labels have them, are closed.
    Close(Vec<Arc<str>>),
}

/// The changes of a loop, in their order. The loop looks for them only when it is woken.
pub type Changes<Listener, DatagramSocket> = Mutex<Vec<Change<Listener, DatagramSocket>>>;

impl<H: Host> EventLoop<H> {
    /// Where to put changes. Wake the loop afterwards. A loop that has gone takes none.
    pub fn changes(&self) -> Weak<Changes<H::Listener, H::DatagramSocket>> {
        Arc::downgrade(&self.changes)
    }

    pub(super) fn make_changes(&mut self) {
        // A thread that panics while it holds this lock leaves the list whole.
        let changes = std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner));
        for change in changes {
            match change {
                Change::Settings(settings) => self.change_settings(*settings),
                Change::Listen(opened) => self.listen(opened),
                Change::Close(addresses) => self.close_listeners(&addresses),
            }
        }
    }

    fn change_settings(&mut self, settings: Settings) {
        let Settings { limits, proxy, replies, udp, faults } = settings;
        let idle_before = self.limits.idle_timeout;
        // Buffers keep their size.
        self.limits = Limits { max_output: self.limits.max_output, ..limits };
        self.means.pool.set_max_bytes(self.limits.max_buffered);
        self.means.count_buffer_limit();
        self.proxy = proxy;
        self.replies = Arc::new(replies);
        // The same faults go on where they are.
        if self.faults.as_ref().map(|faults| &faults.plan) != faults.as_ref() {
            self.faults = faults.map(|plan| Arc::new(PlannedFaults::new(plan)));
        }
        self.datagrams.change(udp, Arc::clone(&self.replies), self.faults.clone(), &self.means);
        if self.limits.idle_timeout != idle_before {
            self.restart_idle_timeouts();
        }
    }

    fn listen(&mut self, opened: Opened<H::Listener, H::DatagramSocket>) {
        let Opened { listeners, datagrams } = opened;
        let drains = self.is_draining();
        let means = &mut self.means;
        if drains {
            listeners.into_iter().for_each(|open| means.host.close_listener(open.listener));
            datagrams.into_iter().for_each(|open| means.host.close_datagrams(open.socket));
            return;
        }
        listeners.into_iter().for_each(|open| self.acceptor.add(open, means.now, &mut means.host));
        datagrams.into_iter().for_each(|open| self.datagrams.add(open, means));
    }

    /// Closes UDP sockets and given listeners at once, and other listeners when their backlogs are empty.
    fn close_listeners(&mut self, addresses: &[Arc<str>]) {
        self.datagrams.close(&mut self.means, |open| addresses.contains(&open.label.address));
        let until = self.means.now + self.limits.drain_timeout;
        for index in self.acceptor.indices() {
            if self.acceptor.listener(index).is_some_and(|open| addresses.contains(&open.label.address)) {
                self.close_listener(index, until);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use parrot_kqueue::Signal;

    use super::*;
    use crate::host::NativeHost;
    use crate::listen::{Addresses, Listen, ListenOptions};

    /// Otherwise the next hangup could come before the waker, and find the port of a closed listener taken.
    #[test]
    fn what_a_hangup_changes_holds_in_the_same_turn() {
        let options = ListenOptions::default();
        let mut opened = Opened::default();
        let listening = Listen::tcp(Addresses::localhost(0)).open(&options, &mut opened).unwrap();
        let address = listening[0].listening.address.socket_address().unwrap();
        let labels = opened.listeners.iter().map(|open| Arc::clone(&open.label.address)).collect::<Vec<_>>();
        let host = NativeHost::new(options.socket).unwrap();
        let mut event_loop = EventLoop::new(host, opened, Settings::default(), Arc::default()).unwrap();
        let changes = event_loop.changes();
        event_loop.set_on_hangup(Box::new(move || {
            changes.upgrade().unwrap().lock().unwrap().push(Change::Close(labels.clone()));
        }));
        assert!(TcpListener::bind(address).is_err());
        let _ = event_loop.handle_signal(Signal::Hangup, 1);
        let _ = event_loop.continue_drain();
        TcpListener::bind(address).unwrap();
    }
}
