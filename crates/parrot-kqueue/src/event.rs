//! One thing that a queue reports.

use crate::{ProcessEvents, Token, VnodeEvents};
use std::{fmt, io, os::unix::process::ExitStatusExt, process::ExitStatus};

/// What an event is about; the kind of its source.
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
    /// A process ended, started another one or became another program.
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
    /// What an event says besides its numbers.
    pub(crate) Flags {
        EOF = 1;
        ERROR = 2;
        URGENT = 4;
        /// `data` is what its filter says it is.
        DATA = 8;
    }
}

/// One thing that happened, as the queue saw it: a hint of what a call on the descriptor would find.
///
/// By the time it is read the world may have moved on, so the call itself has the last word: a read that would block
/// is no surprise, and only a read of 0 bytes is the end of a stream.
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
/// for event in events.iter() {
///     assert_eq!((event.token(), event.filter()), (Token(5), Filter::Read));
/// }
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub(crate) token: Token,
    /// Bytes, expirations, posts or a wait status, as the filter has it; valid with `Flags::DATA`.
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

    /// The bits of what happened to a process or a file.
    #[must_use]
    pub(crate) fn with_details(mut self, bits: u8) -> Self {
        self.details = u32::from(bits);
        self
    }

    /// The token of the registration.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Events, Kqueue, Token};
    /// # use std::{io::Write, os::fd::AsFd};
    /// # let (reader, mut writer) = std::io::pipe()?;
    /// # let (queue, mut events) = (Kqueue::new()?, Events::with_capacity(8));
    /// # queue.apply(&[Change::add_read(reader.as_fd(), Token(5))]).all()?;
    /// # writer.write_all(b"squawk")?;
    /// # queue.wait(&mut events, None)?;
    /// for event in &events {
    ///     assert_eq!(event.token(), Token(5));
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// What kind of source the event is from.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Events, Kqueue, Token};
    /// # use std::{io::Write, os::fd::AsFd};
    /// # let (reader, mut writer) = std::io::pipe()?;
    /// # let (queue, mut events) = (Kqueue::new()?, Events::with_capacity(8));
    /// # queue.apply(&[Change::add_read(reader.as_fd(), Token(5))]).all()?;
    /// # writer.write_all(b"squawk")?;
    /// # queue.wait(&mut events, None)?;
    /// for event in &events {
    ///     assert_eq!(event.filter(), parrot_kqueue::Filter::Read);
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn filter(&self) -> Filter {
        self.filter
    }

    /// Bytes that wait to be read, connections that wait to be accepted, or bytes of room for a write, when the event
    /// was made. `None` where the system does not say it for free: on Linux, and for other filters.
    ///
    /// It may be out of date when it is read, so let it size a buffer, not end a loop.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Events, Kqueue, Token};
    /// # use std::{io::Write, os::fd::AsFd};
    /// # let (reader, mut writer) = std::io::pipe()?;
    /// # let (queue, mut events) = (Kqueue::new()?, Events::with_capacity(8));
    /// # queue.apply(&[Change::add_read(reader.as_fd(), Token(5))]).all()?;
    /// # writer.write_all(b"squawk")?;
    /// # queue.wait(&mut events, None)?;
    /// for event in &events {
    ///     assert!(event.available().is_none_or(|bytes| bytes == 6));
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn available(&self) -> Option<u64> {
        match self.filter {
            Filter::Read | Filter::Write if self.flags.contains(Flags::DATA) => {
                Some(u64::try_from(self.data).unwrap_or(0))
            }
            _ => None,
        }
    }

    /// Read: the other side will send no more, but bytes may still wait to be read. Write: the other side takes no
    /// more. A hint: read on until a read gives 0.
    ///
    /// Once a program has shut down its own sending side, the kqueue systems say so of Write; Linux does when both
    /// sides are shut down (EPOLLHUP). A TCP socket that was never connected is reported there as well, for Read and
    /// for Write and with this flag: register it after `connect`.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Events, Kqueue, Token};
    /// # use std::{io::Write, os::fd::AsFd};
    /// # let (reader, mut writer) = std::io::pipe()?;
    /// # let (queue, mut events) = (Kqueue::new()?, Events::with_capacity(8));
    /// # queue.apply(&[Change::add_read(reader.as_fd(), Token(5))]).all()?;
    /// # writer.write_all(b"squawk")?;
    /// # queue.wait(&mut events, None)?;
    /// for event in &events {
    ///     assert!(!event.is_eof()); // the writer is still there
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn is_eof(&self) -> bool {
        self.flags.contains(Flags::EOF)
    }

    /// The descriptor is in error, and the next call on it will say which. On Linux it also stands for a pipe whose
    /// reader is gone.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Events, Kqueue, Token};
    /// # use std::{io::Write, os::fd::AsFd};
    /// # let (reader, mut writer) = std::io::pipe()?;
    /// # let (queue, mut events) = (Kqueue::new()?, Events::with_capacity(8));
    /// # queue.apply(&[Change::add_read(reader.as_fd(), Token(5))]).all()?;
    /// # writer.write_all(b"squawk")?;
    /// # queue.wait(&mut events, None)?;
    /// for event in &events {
    ///     assert!(!event.is_error());
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.flags.contains(Flags::ERROR)
    }

    /// The socket's error, where the event carries it: kqueue does together with the end of the stream, Linux does not.
    ///
    /// Looking here does not take the error away; `take_error` of `std`'s sockets asks the socket itself on every
    /// system.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Events, Kqueue, Token};
    /// # use std::{io::Write, os::fd::AsFd};
    /// # let (reader, mut writer) = std::io::pipe()?;
    /// # let (queue, mut events) = (Kqueue::new()?, Events::with_capacity(8));
    /// # queue.apply(&[Change::add_read(reader.as_fd(), Token(5))]).all()?;
    /// # writer.write_all(b"squawk")?;
    /// # queue.wait(&mut events, None)?;
    /// for event in &events {
    ///     if let Some(error) = event.socket_error() {
    ///         eprintln!("the connection ended: {error}");
    ///     }
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn socket_error(&self) -> Option<io::Error> {
        match self.filter {
            Filter::Read | Filter::Write if self.is_error() && self.details != 0 => {
                i32::try_from(self.details).ok().map(io::Error::from_raw_os_error)
            }
            _ => None,
        }
    }

    /// Urgent data stands in the stream, so that a short read may end before it with more to come. Only Linux says so,
    /// on Read; where it is `false` and there is a count, [`available`](Event::available) tells what is left.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Events, Kqueue, Token};
    /// # use std::{io::Write, os::fd::AsFd};
    /// # let (reader, mut writer) = std::io::pipe()?;
    /// # let (queue, mut events) = (Kqueue::new()?, Events::with_capacity(8));
    /// # queue.apply(&[Change::add_read(reader.as_fd(), Token(5))]).all()?;
    /// # writer.write_all(b"squawk")?;
    /// # queue.wait(&mut events, None)?;
    /// for event in &events {
    ///     assert!(!event.is_urgent());
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.flags.contains(Flags::URGENT)
    }

    /// How often it happened since it was last reported: expirations of a timer, posts of a signal, uses of a waker.
    /// At least 1. Linux merges the posts of a signal and kqueue merges the uses of a waker into one. 1 for other
    /// filters.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Events, Kqueue, Schedule, TimerId, Token};
    /// # use std::time::Duration;
    /// # let (queue, mut events) = (Kqueue::new()?, Events::with_capacity(8));
    /// # queue.apply(&[Change::add_timer(TimerId(1), Schedule::After(Duration::ZERO), Token(5))]).all()?;
    /// # queue.wait(&mut events, None)?;
    /// for event in &events {
    ///     assert_eq!(event.count(), 1);
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn count(&self) -> u64 {
        match self.filter {
            Filter::Timer | Filter::Signal | Filter::User => u64::try_from(self.data).unwrap_or(1).max(1),
            _ => 1,
        }
    }

    /// What the process did; empty for other filters.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Events, Kqueue, ProcessEvents, ProcessId, Token};
    /// # let (queue, mut events) = (Kqueue::new()?, Events::with_capacity(8));
    /// let mut child = std::process::Command::new("sleep").arg("0.1").spawn()?;
    /// queue.apply(&[Change::add_process(ProcessId::of(&child)?, ProcessEvents::EXIT, Token(5))]).all()?;
    /// queue.wait(&mut events, None)?;
    /// for event in &events {
    ///     assert_eq!(event.process_events(), ProcessEvents::EXIT);
    /// }
    /// child.wait()?;
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn process_events(&self) -> ProcessEvents {
        match self.filter {
            Filter::Process => ProcessEvents::from_bits((self.details & 0xff) as u8),
            _ => ProcessEvents::empty(),
        }
    }

    /// How the process ended, where the system says so: macOS and Linux do of one's own children only. The process is
    /// not reaped: `wait` of its parent still works.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Events, Kqueue, ProcessEvents, ProcessId, Token};
    /// # let (queue, mut events) = (Kqueue::new()?, Events::with_capacity(8));
    /// let mut child = std::process::Command::new("sleep").arg("0.1").spawn()?;
    /// queue.apply(&[Change::add_process(ProcessId::of(&child)?, ProcessEvents::EXIT, Token(5))]).all()?;
    /// queue.wait(&mut events, None)?;
    /// for event in &events {
    ///     assert!(event.exit_status().is_none_or(|status| status.success()));
    /// }
    /// child.wait()?;
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        let ended = self.process_events().contains(ProcessEvents::EXIT) && self.flags.contains(Flags::DATA);
        ended.then(|| i32::try_from(self.data).ok().map(ExitStatus::from_raw)).flatten()
    }

    /// What happened to the file; empty for other filters.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Events, Kqueue, Token, VnodeEvents};
    /// # use std::{io::Write, os::fd::AsFd};
    /// # let (queue, mut events) = (Kqueue::new()?, Events::with_capacity(8));
    /// # let path = std::env::temp_dir().join(format!("parrot-kqueue-{}", std::process::id()));
    /// let mut file = std::fs::File::create(&path)?;
    /// queue.apply(&[Change::add_vnode(file.as_fd(), VnodeEvents::WRITE, Token(5))]).all()?;
    /// file.write_all(b"squawk")?;
    /// queue.wait(&mut events, None)?;
    /// for event in &events {
    ///     assert_eq!(event.vnode_events(), VnodeEvents::WRITE);
    /// }
    /// # std::fs::remove_file(path)?;
    /// # std::io::Result::Ok(())
    /// ```
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
