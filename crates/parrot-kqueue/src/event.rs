//! One thing that a queue reports.

use crate::{ProcessEvents, Token, VnodeEvents};
use std::{fmt, io, os::unix::process::ExitStatusExt, process::ExitStatus};

/// The kind of thing that an event is about.
///
/// ```
/// use parrot_kqueue::{Events, Filter, Kqueue, Token};
///
/// let queue = Kqueue::new()?;
/// let waker = queue.waker(Token(1))?;
/// waker.wake()?;
/// let mut events = Events::with_capacity(8);
/// queue.wait(&mut events, None)?;
/// assert_eq!(events.get(0).map(|event| event.filter()), Some(Filter::User));
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Filter {
    /// A descriptor can be read from.
    Read,
    /// A descriptor can be written to.
    Write,
    /// A timer's time has come.
    Timer,
    /// The process was sent a signal.
    Signal,
    /// A waker was used.
    User,
    /// A process ended, forked or became another program.
    Process,
    /// Something happened to a file.
    Vnode,
}

impl Filter {
    /// Every filter, at the index that it has as a number.
    #[cfg(target_os = "linux")]
    pub(crate) const ALL: [Filter; 7] =
        [Filter::Read, Filter::Write, Filter::Timer, Filter::Signal, Filter::User, Filter::Process, Filter::Vnode];
}

flag_set! {
    /// The flags of an event.
    pub(crate) Flags {
        EOF = 1;
        ERROR = 2;
        URGENT = 4;
        /// `data` has what the filter defines for it.
        DATA = 8;
        /// `data` is what is available to Read or Write.
        AVAILABLE = 16;
    }
}

/// One thing that happened. It is a hint of what a call on the descriptor would find.
///
/// By the time the program looks at it, the world may have moved on. So the call itself decides. A read that would
/// block is no error, and only a read of 0 bytes is the end of a stream.
///
/// ```
/// use parrot_kqueue::{Change, Events, Filter, Kqueue, Token};
/// use std::{io::Write, os::fd::AsFd};
///
/// let queue = Kqueue::new()?;
/// let (reader, mut writer) = std::io::pipe()?;
/// queue.apply(&[Change::add_read(reader.as_fd(), Token(5))]).all()?;
/// writer.write_all(b"squawk")?;
///
/// let mut events = Events::with_capacity(8);
/// queue.wait(&mut events, None)?;
/// for event in &events {
///     assert_eq!((event.token(), event.filter()), (Token(5), Filter::Read));
///     assert!(event.available().is_none_or(|bytes| bytes == 6));
///     assert!(!event.is_eof() && !event.is_error() && !event.is_urgent());
/// }
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub(crate) token: Token,
    /// Bytes, expirations, posts or a wait status, depending on the filter. Valid with `Flags::DATA` or
    /// `Flags::AVAILABLE`.
    pub(crate) data: i64,
    /// A socket's error number, or the bits of `ProcessEvents` or `VnodeEvents`.
    pub(crate) details: u32,
    pub(crate) filter: Filter,
    pub(crate) flags: Flags,
}

impl Event {
    pub(crate) fn new(token: Token, filter: Filter) -> Self {
        Event { token, data: 0, details: 0, filter, flags: Flags::empty() }
    }

    #[must_use]
    pub(crate) fn with_data(mut self, data: i64) -> Self {
        self.data = data;
        self.flags |= Flags::DATA;
        self
    }

    /// What is available to Read or Write, which epoll does not report.
    #[cfg(not(target_os = "linux"))]
    #[must_use]
    pub(crate) fn with_available(mut self, data: i64) -> Self {
        self.data = data;
        self.flags |= Flags::AVAILABLE;
        self
    }

    /// The bits of what happened to a process or a file.
    #[must_use]
    pub(crate) fn with_details(mut self, bits: u8) -> Self {
        self.details = u32::from(bits);
        self
    }

    /// The token of the registration.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// The kind of source that the event is from.
    #[must_use]
    pub fn filter(&self) -> Filter {
        self.filter
    }

    /// Bytes to read, connections to accept, or bytes of room for a write, when the event was made. `None` for other
    /// filters, and on Linux, where epoll does not report it.
    ///
    /// It may be out of date by now, so let it size a buffer, not end a loop.
    #[must_use]
    pub fn available(&self) -> Option<u64> {
        self.flags.contains(Flags::AVAILABLE).then(|| u64::try_from(self.data).unwrap_or(0))
    }

    /// The end of the stream. For Read, the other side will send no more, but bytes may still wait to be read. For
    /// Write, the other side accepts no more. This is a hint, so read on until a read returns 0.
    ///
    /// Once a program has shut down its own sending side, the kqueue systems report this for Write. Linux does when
    /// both sides are shut down (EPOLLHUP). Linux also reports it, for Read and for Write, of a TCP socket that was
    /// never connected, so register a socket after `connect`.
    #[must_use]
    pub fn is_eof(&self) -> bool {
        self.flags.contains(Flags::EOF)
    }

    /// The descriptor has an error, and the next call on it will return that. On Linux this also stands for a pipe
    /// whose reader is gone.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.flags.contains(Flags::ERROR)
    }

    /// The socket's error, where the event carries it. kqueue reports it together with the end of the stream, Linux
    /// does not.
    ///
    /// Looking here leaves the error in the socket. On every system, `take_error` of `std`'s sockets asks the socket
    /// itself.
    #[must_use]
    pub fn socket_error(&self) -> Option<io::Error> {
        match self.filter {
            Filter::Read | Filter::Write if self.is_error() && self.details != 0 => {
                i32::try_from(self.details).ok().map(io::Error::from_raw_os_error)
            }
            _ => None,
        }
    }

    /// There is urgent data in the stream, so a read may end before it with more to come. Only Linux reports this, for
    /// Read. On the other systems [`available`](Event::available) shows whether more is left.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.flags.contains(Flags::URGENT)
    }

    /// How often it happened since it was last reported: expirations of a timer, posts of a signal or uses of a waker.
    /// At least 1, and 1 for other filters. Linux merges the posts of a signal into one, kqueue the uses of a waker.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self.filter {
            Filter::Timer | Filter::Signal | Filter::User => u64::try_from(self.data).unwrap_or(1).max(1),
            _ => 1,
        }
    }

    /// What the process did. Empty for other filters.
    #[must_use]
    pub fn process_events(&self) -> ProcessEvents {
        match self.filter {
            Filter::Process => ProcessEvents::from_bits((self.details & 0xff) as u8),
            _ => ProcessEvents::empty(),
        }
    }

    /// How the process ended, where the system reports that. macOS and Linux do for the program's own children only.
    /// The process is not reaped, so `wait` of its parent still works.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        let ended = self.process_events().contains(ProcessEvents::EXIT) && self.flags.contains(Flags::DATA);
        ended.then(|| i32::try_from(self.data).ok().map(ExitStatus::from_raw)).flatten()
    }

    /// What happened to the file. Empty for other filters.
    #[must_use]
    pub fn vnode_events(&self) -> VnodeEvents {
        match self.filter {
            Filter::Vnode => VnodeEvents::from_bits((self.details & 0xff) as u8),
            _ => VnodeEvents::empty(),
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut event = formatter.debug_struct("Event");
        event.field("token", &self.token.0).field("filter", &self.filter);
        match self.filter {
            Filter::Read | Filter::Write => {
                event.field("available", &self.available()).field("eof", &self.is_eof());
                event.field("error", &self.is_error()).field("urgent", &self.is_urgent());
            }
            Filter::Timer | Filter::Signal | Filter::User => {
                event.field("count", &self.count());
            }
            Filter::Process => {
                event.field("events", &self.process_events()).field("exit_status", &self.exit_status());
            }
            Filter::Vnode => {
                event.field("events", &self.vnode_events());
            }
        }
        event.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn every_filter_stands_at_its_number() {
        assert!(Filter::ALL.into_iter().map(|filter| filter as usize).eq(0..Filter::ALL.len()));
    }

    #[test]
    fn an_event_is_three_words() {
        assert!(size_of::<Event>() <= 24);
    }
}
