//! The listeners: what is watched, and what an error of accept asks for.

use std::io::{self, ErrorKind};
use std::ops::Range;
use std::time::Duration;

use rustix::io::Errno;

use super::moment::Moment;
use super::seldom::Seldom;
use super::shortage::{errno, is_shortage};
use crate::host::{Host, Target, Watch};
use crate::listen::OpenListener;

/// How long accepting pauses when resources run out and no connection closes meanwhile.
const PAUSE: Duration = Duration::from_millis(250);

/// The listeners, and whether the queue watches them.
///
/// A listener stays readable while connections that cannot be accepted are in its backlog, so watching it then would spin
/// (libuv#315, bun#32705). It is not closed either, so that those connections are served when there is room.
#[derive(Debug)]
pub(super) struct Acceptor<Listener> {
    /// In the order of [`Target::Listener`]. `None` once closed.
    listeners: Vec<Option<Watched<Listener>>>,
    /// How many of them are to be closed.
    closing: usize,
    resume_at: Option<Moment>,
    warning: Seldom,
}

/// A listener, and whether the queue watches it. After a pause that can succeed for one listener and fail for another.
#[derive(Debug)]
struct Watched<Listener> {
    open: OpenListener<Listener>,
    watched: bool,
    /// When it is closed at the latest, if it is to be closed.
    closes_at: Option<Moment>,
}

impl<Listener> Watched<Listener> {
    fn unwatch<H: Host<Listener = Listener>>(&mut self, host: &mut H) {
        if std::mem::take(&mut self.watched)
            && let Err(error) = host.unwatch(Watch::Accept(&self.open.listener))
        {
            tracing::debug!(target: "parrot_server", %error, "a listener was not watched");
        }
    }
}

impl<Listener> Acceptor<Listener> {
    /// Watches the listeners.
    pub(super) fn new<H: Host<Listener = Listener>>(
        listeners: Vec<OpenListener<Listener>>,
        host: &mut H,
    ) -> io::Result<Acceptor<Listener>> {
        for (index, open) in listeners.iter().enumerate() {
            host.watch(Watch::Accept(&open.listener), Target::Listener(index))?;
        }
        let watched = |open| Some(Watched { open, watched: true, closes_at: None });
        let listeners = listeners.into_iter().map(watched).collect();
        Ok(Acceptor { listeners, closing: 0, resume_at: None, warning: Seldom::default() })
    }

    /// Adds a listener. If it cannot be watched now, that is tried again after a pause.
    pub(super) fn add<H: Host<Listener = Listener>>(
        &mut self,
        open: OpenListener<Listener>,
        now: Moment,
        host: &mut H,
    ) {
        let added = Some(Watched { open, watched: false, closes_at: None });
        match self.listeners.iter_mut().find(|listener| listener.is_none()) {
            Some(free) => *free = added,
            None => self.listeners.push(added),
        }
        if !self.is_paused() {
            self.watch_all(now, host);
        }
    }

    /// The listener with this index, if it is open.
    pub(super) fn listener(&self, index: usize) -> Option<&OpenListener<Listener>> {
        self.listeners.get(index)?.as_ref().map(|watched| &watched.open)
    }

    /// The indices of all listeners, closed ones included.
    pub(super) fn indices(&self) -> Range<usize> {
        0..self.listeners.len()
    }

    /// Whether all listeners are closed.
    pub(super) fn is_closed(&self) -> bool {
        self.listeners.iter().all(Option::is_none)
    }

    /// Whether some of them are to be closed and are still open.
    pub(super) fn is_closing(&self) -> bool {
        self.closing > 0
    }

    /// When a listener that is to be closed is closed at the latest.
    pub(super) fn closes_at(&self, index: usize) -> Option<Moment> {
        self.listeners.get(index)?.as_ref()?.closes_at
    }

    /// Whether resources ran out, and nothing is accepted for the moment.
    pub(super) fn is_paused(&self) -> bool {
        self.resume_at.is_some()
    }

    /// When to try again if no connection closes before.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        self.resume_at
    }

    /// Stops watching because of an error that may last, until `PAUSE` has passed or [`resume`](Acceptor::resume) is called.
    pub(super) fn pause<H: Host<Listener = Listener>>(&mut self, error: &io::Error, now: Moment, host: &mut H) {
        self.resume_at = Some(now + PAUSE);
        for listener in self.listeners.iter_mut().flatten() {
            listener.unwatch(host);
        }
        if self.warning.is_due(now) {
            let advice = match errno(error) {
                Some(Errno::MFILE) => " (ulimit -n raises the limit of descriptors)",
                Some(Errno::NFILE) if cfg!(target_os = "linux") => " (sysctl fs.file-max raises the limit)",
                Some(Errno::NFILE) => " (sysctl kern.maxfiles raises the limit)",
                _ => "",
            };
            tracing::warn!(
                target: "parrot_server",
                "cannot accept for the moment: {error}{advice}; new connections wait in the backlog"
            );
        }
    }

    /// Watches again after a pause.
    pub(super) fn resume<H: Host<Listener = Listener>>(&mut self, now: Moment, host: &mut H) {
        if self.resume_at.take().is_some() {
            self.watch_all(now, host);
        }
    }

    fn watch_all<H: Host<Listener = Listener>>(&mut self, now: Moment, host: &mut H) {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            let Some(Watched { open, watched, .. }) = listener else { continue };
            if *watched {
                continue;
            }
            match host.watch(Watch::Accept(&open.listener), Target::Listener(index)) {
                Ok(()) => *watched = true,
                Err(error) => {
                    tracing::debug!(target: "parrot_server", %error, "cannot watch a listener yet");
                    self.resume_at = Some(now + PAUSE);
                }
            }
        }
    }

    /// Has a listener closed at this time, or before. An earlier time that was set stays.
    pub(super) fn close_later(&mut self, index: usize, latest: Moment) {
        let Some(Some(listener)) = self.listeners.get_mut(index) else { return };
        self.closing += usize::from(listener.closes_at.is_none());
        listener.closes_at = Some(listener.closes_at.map_or(latest, |earlier| earlier.min(latest)));
    }

    /// Closes a listener.
    pub(super) fn close<H: Host<Listener = Listener>>(&mut self, index: usize, host: &mut H) {
        let Some(mut listener) = self.listeners.get_mut(index).and_then(Option::take) else { return };
        self.closing -= usize::from(listener.closes_at.is_some());
        listener.unwatch(host);
        host.close_listener(listener.open.listener);
    }
}

/// What an error of accept asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AcceptError {
    /// The backlog is empty.
    Empty,
    /// That connection failed before it was accepted. The next may not.
    Next,
    /// Descriptors or memory ran out, so accepting pauses.
    Exhausted,
    /// Something else, which may last, so accepting pauses.
    Other,
}

impl From<&io::Error> for AcceptError {
    fn from(error: &io::Error) -> AcceptError {
        match error.kind() {
            ErrorKind::WouldBlock => return AcceptError::Empty,
            ErrorKind::Interrupted | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset => {
                return AcceptError::Next;
            }
            // macOS accepts a peer that has gone already with an address of length 0 (capnproto#2365). std closes that
            // socket and returns an error of its own, without an error number.
            ErrorKind::InvalidInput if error.raw_os_error().is_none() => return AcceptError::Next,
            _ => {}
        }
        match errno(error) {
            _ if is_shortage(error) => AcceptError::Exhausted,
            // Errors of the connection that Linux reports through accept (accept(2), "Error handling"). EOPNOTSUPP and EPERM
            // are in that list too, but not here: a security module or a filter of system calls returns EPERM for as long as
            // its rule stands, and leaves the connection in the backlog.
            Some(
                Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::TIMEDOUT,
            ) => AcceptError::Next,
            _ => AcceptError::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_empties_no_backlog_pauses_accepting() {
        for (errno, expected) in [
            (Errno::AGAIN, AcceptError::Empty),
            (Errno::INTR, AcceptError::Next),
            (Errno::CONNABORTED, AcceptError::Next),
            (Errno::PROTO, AcceptError::Next),
            (Errno::HOSTUNREACH, AcceptError::Next),
            (Errno::MFILE, AcceptError::Exhausted),
            (Errno::NOMEM, AcceptError::Exhausted),
            (Errno::PERM, AcceptError::Other),
            (Errno::OPNOTSUPP, AcceptError::Other),
            (Errno::BADF, AcceptError::Other),
        ] {
            assert_eq!(AcceptError::from(&io::Error::from(errno)), expected, "{errno}");
        }
    }
}
