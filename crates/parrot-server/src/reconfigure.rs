//! What a handle changes of a server that runs: its settings, and what it listens on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError, Weak};

use parrot_conn::Template;
use parrot_udp::DatagramSocket;

use crate::config::Settings;
use crate::event_loop::{Change, Changes};
use crate::listen::{BindError, CountedListening, Listen, ListenOptions, Listener, Listening, LocalAddress, Opened};
use crate::server::Handle;
use crate::stage::Stage;

type NativeOpened = Opened<Listener, DatagramSocket>;

/// What later changes depend on.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) options: ListenOptions,
    pub(crate) max_output: usize,
    /// How long the prefix can become.
    pub(crate) longest_prefix: AtomicUsize,
    pub(crate) changes: Weak<Changes<Listener, DatagramSocket>>,
}

impl Handle {
    /// Replaces the settings of a server that runs. No connection is lost. The loop follows before its next wait.
    ///
    /// - Of the limits, `max_connections` and `max_buffered` hold for what comes next. More connections or bytes that are
    ///   there already stay. The idle timeout counts from each connection's last byte. Delay and timeout of the drain hold
    ///   unless they have begun. `max_output` stays as it was bound.
    /// - PROXY rules and replies hold for connections that are accepted later. Which listeners expect a header was decided
    ///   when they were opened.
    /// - UDP rules hold for the next datagram.
    /// - Faults hold for connections that are accepted later, and for the next datagram. Other faults than before begin with
    ///   connection number 1. Listeners with faults of their own keep these.
    ///
    /// # Errors
    ///
    /// When a prefix leaves no room for a message. Then nothing changes.
    pub fn set_settings(&self, settings: Settings) -> Result<(), BindError> {
        let longest = settings.replies.prefix.as_ref().map_or(0, Template::longest);
        let has_datagrams = self.listening().iter().any(|counted| is_udp(&counted.listening));
        self.check_prefix(longest, has_datagrams)?;
        self.bound.longest_prefix.store(longest, Ordering::Relaxed);
        self.change([Change::Settings(Box::new(settings.effective()))]);
        Ok(())
    }

    /// Listens on more places, with the options that the server was bound with. Connections may come at once. Returns what
    /// is listened on at each place.
    ///
    /// # Errors
    ///
    /// When one of the places cannot be listened on, when a prefix leaves no room for a datagram, and when the server
    /// drains or has ended. Then nothing changes.
    pub fn listen(&self, places: Vec<Listen>) -> Result<Vec<Vec<Listening>>, BindError> {
        let (places, opened) = self.open(places)?;
        self.check_prefix(self.bound.longest_prefix.load(Ordering::Relaxed), !opened.datagrams.is_empty())?;
        self.listening().extend(places.iter().flatten().cloned());
        self.change([Change::Listen(opened)]);
        Ok(places.iter().map(|place| CountedListening::listed(place)).collect())
    }

    /// Closes the listeners and UDP sockets with these addresses. Connections that were accepted there stay, and those in
    /// the backlog are accepted first, for as long as a drain may take. One that comes at the last moment may be reset. The
    /// backlog of a given listener is left to whoever holds it too. Other addresses are ignored.
    pub fn close_listeners(&self, addresses: &[LocalAddress]) {
        self.change([Change::Close(self.unlist(addresses))]);
    }

    /// [Listens](Handle::listen) on more places, [closes](Handle::close_listeners) listeners and replaces the
    /// [settings](Handle::set_settings), all in one turn of the loop. The prefix has to suit what is open afterwards, so
    /// this takes steps that no order of the three calls would.
    ///
    /// # Errors
    ///
    /// As for these calls. Then nothing changes.
    pub fn reconfigure(
        &self,
        settings: Settings,
        places: Vec<Listen>,
        closed: &[LocalAddress],
    ) -> Result<Vec<Vec<Listening>>, BindError> {
        let (places, opened) = self.open(places)?;
        let longest = settings.replies.prefix.as_ref().map_or(0, Template::longest);
        let stays = |counted: &CountedListening| !closed.contains(&counted.listening.address);
        let keeps_datagrams = self.listening().iter().any(|counted| is_udp(&counted.listening) && stays(counted));
        self.check_prefix(longest, keeps_datagrams || !opened.datagrams.is_empty())?;
        self.bound.longest_prefix.store(longest, Ordering::Relaxed);
        let closed = self.unlist(closed);
        self.listening().extend(places.iter().flatten().cloned());
        let settings = Box::new(settings.effective());
        self.change([Change::Close(closed), Change::Settings(settings), Change::Listen(opened)]);
        Ok(places.iter().map(|place| CountedListening::listed(place)).collect())
    }

    /// Opens places, which are not served yet.
    fn open(&self, places: Vec<Listen>) -> Result<(Vec<Vec<CountedListening>>, NativeOpened), BindError> {
        if self.stage() >= Stage::Draining {
            return Err(BindError::ended());
        }
        let mut opened = NativeOpened::default();
        let places: Result<Vec<_>, _> =
            places.into_iter().map(|place| place.open(&self.bound.options, &mut opened)).collect();
        Ok((places?, opened))
    }

    /// Takes listeners off the list, and returns their labels.
    fn unlist(&self, addresses: &[LocalAddress]) -> Vec<Arc<str>> {
        let mut closed = Vec::new();
        self.listening().retain(|counted| {
            let stays = !addresses.contains(&counted.listening.address);
            if !stays {
                closed.push(Arc::from(counted.listening.address.to_string()));
            }
            stays
        });
        closed
    }

    fn check_prefix(&self, longest: usize, has_datagrams: bool) -> Result<(), BindError> {
        BindError::check_prefix(longest, self.bound.max_output, has_datagrams)
    }

    fn listening(&self) -> MutexGuard<'_, Vec<CountedListening>> {
        // A thread that panics while it holds this lock leaves the list whole.
        self.shared.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<const N: usize>(&self, wanted: [Change<Listener, DatagramSocket>; N]) {
        let Some(changes) = self.bound.changes.upgrade() else { return };
        changes.lock().unwrap_or_else(PoisonError::into_inner).extend(wanted);
        if let Err(error) = self.wake() {
            tracing::warn!(target: "parrot_server", %error, "cannot wake the server to change it");
        }
    }
}

fn is_udp(listening: &Listening) -> bool {
    matches!(listening.address, LocalAddress::Udp(_))
}
