//! New connections: how many a turn, and what happens when descriptors run out.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use parrot_kqueue::Token;

use crate::system::{System, Watch};

/// The most connections accepted from one listener in one turn, so that a storm of them does not starve those that are
/// open.
pub(crate) const ACCEPTS_PER_TURN: usize = 64;

/// How long accepting pauses when resources run out and no connection closes meanwhile.
const PAUSE: Duration = Duration::from_millis(250);

/// The least time between two warnings of the same kind.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// The listeners, and whether the queue watches them.
///
/// A listener stays readable while connections wait that cannot be accepted, so that it must not be watched then: that
/// would spin (libuv#315, bun#32705). It is not closed either: those that wait are served when there is room.
#[derive(Debug)]
pub(crate) struct Acceptor<Listener> {
    /// In the order of their tokens; `None` once closed.
    listeners: Vec<Option<Watched<Listener>>>,
    resume_at: Option<Instant>,
    last_warning: Option<Instant>,
}

/// A listener, and whether the queue watches it: after a pause that can succeed for one and fail for the other.
#[derive(Debug)]
struct Watched<Listener> {
    listener: Listener,
    watched: bool,
}

impl<Listener> Watched<Listener> {
    fn unwatch<S: System<Listener = Listener>>(&mut self, system: &mut S, queue: &mut S::Queue) {
        if std::mem::take(&mut self.watched)
            && let Err(error) = system.unwatch(queue, Watch::Accept(&self.listener))
        {
            tracing::debug!(target: "parrot_server", %error, "a listener was not watched");
        }
    }
}

/// What an error of accept asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcceptError {
    /// No connection waits.
    Empty,
    /// That connection failed before it was accepted; the next may not.
    Next,
    /// Descriptors or memory ran out: pause.
    Exhausted,
    /// Something else, which may last: pause.
    Other,
}

impl From<&io::Error> for AcceptError {
    fn from(error: &io::Error) -> AcceptError {
        match error.kind() {
            ErrorKind::WouldBlock => return AcceptError::Empty,
            ErrorKind::Interrupted | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset => {
                return AcceptError::Next;
            }
            // macOS accepts a peer that has gone already with an address of no length (capnproto#2365), which std refuses
            // by itself: it closes the socket, and there is no error number.
            ErrorKind::InvalidInput if error.raw_os_error().is_none() => return AcceptError::Next,
            _ => {}
        }
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => AcceptError::Exhausted,
            // Errors of the connection that Linux reports through accept (accept(2), "Error handling"). Not EOPNOTSUPP, and
            // not EPERM, though it stands there too: a security module or a filter of system calls answers EPERM for as
            // long as its rule stands and leaves the connection in the backlog.
            Some(
                Errno::EPROTO
                | Errno::ENOPROTOOPT
                | Errno::ENETDOWN
                | Errno::ENETUNREACH
                | Errno::EHOSTDOWN
                | Errno::EHOSTUNREACH
                | Errno::ETIMEDOUT,
            ) => AcceptError::Next,
            _ => AcceptError::Other,
        }
    }
}

impl<Listener> Acceptor<Listener> {
    /// Watches the listeners with the tokens 0, 1, … in their order.
    pub(crate) fn new<S: System<Listener = Listener>>(
        listeners: Vec<Listener>,
        system: &mut S,
        queue: &mut S::Queue,
    ) -> io::Result<Acceptor<Listener>> {
        for (index, listener) in listeners.iter().enumerate() {
            system.watch(queue, Watch::Accept(listener), Token(index))?;
        }
        let listeners = listeners.into_iter().map(|listener| Some(Watched { listener, watched: true })).collect();
        Ok(Acceptor { listeners, resume_at: None, last_warning: None })
    }

    /// The listener of this token, if it is open.
    pub(crate) fn listener(&self, index: usize) -> Option<&Listener> {
        self.listeners.get(index)?.as_ref().map(|watched| &watched.listener)
    }

    /// The tokens that listeners have or had.
    pub(crate) fn tokens(&self) -> std::ops::Range<usize> {
        0..self.listeners.len()
    }

    /// Whether all listeners are closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.listeners.iter().all(Option::is_none)
    }

    /// Whether resources ran out, and nothing is accepted for the moment.
    pub(crate) fn is_paused(&self) -> bool {
        self.resume_at.is_some()
    }

    /// When to try again without waiting for a connection to close.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.resume_at
    }

    /// Stops watching until `PAUSE` has passed or [`resume`](Acceptor::resume) is called.
    pub(crate) fn pause<S: System<Listener = Listener>>(
        &mut self,
        error: &io::Error,
        now: Instant,
        system: &mut S,
        queue: &mut S::Queue,
    ) {
        self.resume_at = Some(now + PAUSE);
        for listener in self.listeners.iter_mut().flatten() {
            listener.unwatch(system, queue);
        }
        if self.last_warning.is_none_or(|last| now.duration_since(last) >= WARNING_INTERVAL) {
            self.last_warning = Some(now);
            // EMFILE alone is the process's own limit.
            let advice = match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EMFILE) => " (ulimit -n raises the limit of descriptors)",
                _ => "",
            };
            tracing::warn!(
                target: "parrot_server",
                "cannot accept for the moment: {error}{advice}; new connections wait in the backlog"
            );
        }
    }

    /// Watches again after a pause.
    pub(crate) fn resume<S: System<Listener = Listener>>(
        &mut self,
        now: Instant,
        system: &mut S,
        queue: &mut S::Queue,
    ) {
        if self.resume_at.take().is_none() {
            return;
        }
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            let Some(Watched { listener, watched }) = listener else { continue };
            if *watched {
                continue;
            }
            match system.watch(queue, Watch::Accept(listener), Token(index)) {
                Ok(()) => *watched = true,
                Err(error) => {
                    tracing::debug!(target: "parrot_server", %error, "a listener cannot be watched yet");
                    self.resume_at = Some(now + PAUSE);
                }
            }
        }
    }

    /// Takes a listener out and closes it.
    pub(crate) fn close<S: System<Listener = Listener>>(&mut self, index: usize, system: &mut S, queue: &mut S::Queue) {
        let Some(mut listener) = self.listeners.get_mut(index).and_then(Option::take) else { return };
        listener.unwatch(system, queue);
        system.close_listener(listener.listener);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_takes_a_connection_out_of_the_backlog_is_followed_by_the_next_accept() {
        for (errno, expected) in [
            (Errno::EAGAIN, AcceptError::Empty),
            (Errno::EINTR, AcceptError::Next),
            (Errno::ECONNABORTED, AcceptError::Next),
            (Errno::EPROTO, AcceptError::Next),
            (Errno::EHOSTUNREACH, AcceptError::Next),
            (Errno::EMFILE, AcceptError::Exhausted),
            (Errno::ENOMEM, AcceptError::Exhausted),
            (Errno::EPERM, AcceptError::Other),
            (Errno::EOPNOTSUPP, AcceptError::Other),
            (Errno::EBADF, AcceptError::Other),
        ] {
            assert_eq!(AcceptError::from(&io::Error::from_raw_os_error(errno as i32)), expected, "{errno}");
        }
    }
}
