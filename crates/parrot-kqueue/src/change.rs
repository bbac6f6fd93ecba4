//! What a program asks of its queue.

use crate::{ProcessEvents, ProcessId, Schedule, Signal, TimerId, Token, VnodeEvents, Waker, receipts::Failure};
use std::os::fd::BorrowedFd;

/// What events come from: kqueue's pair of filter and identifier, which names a registration in its queue.
///
/// ```
/// use parrot_kqueue::{Change, Source, TimerId};
///
/// let stop_the_clock = Change::delete(Source::Timer(TimerId(1)));
/// # let _ = stop_the_clock;
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Source<'a> {
    /// A descriptor that can be read from.
    Read(BorrowedFd<'a>),
    /// A descriptor that can be written to.
    Write(BorrowedFd<'a>),
    /// A file to which something happens.
    Vnode(BorrowedFd<'a>),
    /// A timer of this queue.
    Timer(TimerId),
    /// A signal to this process.
    Signal(Signal),
    /// Another process.
    Process(ProcessId),
    /// A waker of this queue.
    User(&'a Waker),
}

impl Source<'_> {
    /// The filter of its events.
    #[cfg(target_os = "linux")]
    pub(crate) fn filter(&self) -> crate::Filter {
        use crate::Filter;
        match self {
            Source::Read(_) => Filter::Read,
            Source::Write(_) => Filter::Write,
            Source::Vnode(_) => Filter::Vnode,
            Source::Timer(_) => Filter::Timer,
            Source::Signal(_) => Filter::Signal,
            Source::Process(_) => Filter::Process,
            Source::User(_) => Filter::User,
        }
    }
}

/// One change to what a queue reports, to be handed to [`Kqueue::apply`](crate::Kqueue::apply).
///
/// Adding what is there replaces it, mode and token included. Deleting, enabling and disabling what is not there is
/// answered with `NotFound`. Both are the same on every system.
///
/// A registration is level-triggered unless it says otherwise: [`edge`](Change::edge),
/// [`one_shot`](Change::one_shot), [`dispatch`](Change::dispatch). Modes belong to one filter of one descriptor.
/// Timers, signals, wakers, processes and files have no level, and so no edge either: each of their events reports what
/// has happened since the one before it.
///
/// ```
/// use parrot_kqueue::{Change, Kqueue, Source, Token};
/// use std::{net::UdpSocket, os::fd::AsFd};
///
/// let queue = Kqueue::new()?;
/// let socket = UdpSocket::bind("127.0.0.1:0")?;
/// queue
///     .apply(&[
///         Change::add_read(socket.as_fd(), Token(1)),
///         Change::add_write(socket.as_fd(), Token(2)).one_shot(),
///     ])
///     .all()?;
/// queue.apply(&[Change::delete(Source::Read(socket.as_fd()))]).all()?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a change does nothing until a queue applies it"]
pub struct Change<'fd> {
    pub(crate) source: Source<'fd>,
    pub(crate) action: Action,
    /// A builder call that makes no sense for this change; the receipt says so.
    mistake: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Add(Addition),
    Delete,
    Enable,
    Disable,
}

/// What an add says beyond its source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addition {
    pub(crate) token: Token,
    pub(crate) mode: Mode,
    pub(crate) disabled: bool,
    pub(crate) wanted: Wanted,
}

/// What an add says that only sources of its kind understand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    Everything,
    LowWater(#[cfg_attr(target_os = "linux", expect(dead_code, reason = "epoll has no such mark"))] usize),
    Schedule(Schedule),
    Process(ProcessEvents),
    Vnode(VnodeEvents),
}

flag_set! {
    /// How a registration behaves once it has fired; level-triggered when empty.
    pub(crate) Mode {
        EDGE = 1;
        ONE_SHOT = 2;
        DISPATCH = 4;
    }
}

impl<'fd> Change<'fd> {
    fn new(source: Source<'fd>, action: Action) -> Self {
        Change { source, action, mistake: None }
    }

    fn add(source: Source<'fd>, token: Token, wanted: Wanted) -> Self {
        Change::new(source, Action::Add(Addition { token, mode: Mode::empty(), disabled: false, wanted }))
    }

    /// Report when a read of this descriptor would not block: bytes, connections to accept, end of stream or an error.
    ///
    /// Sockets, listeners, pipes, terminals and other queues work on every system. Regular files are `Unsupported` on
    /// Linux, where they are always ready: watch them with [`Change::add_vnode`].
    ///
    /// Delete the registration before the descriptor is closed; see the crate's documentation for what happens
    /// otherwise.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Kqueue, Token};
    /// # use std::os::fd::AsFd;
    /// let queue = Kqueue::new()?;
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// queue.apply(&[Change::add_read(listener.as_fd(), Token(7))]).all()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn add_read(descriptor: BorrowedFd<'fd>, token: Token) -> Self {
        Change::add(Source::Read(descriptor), token, Wanted::Everything)
    }

    /// Report when a write to this descriptor would not block: there is room, or the other side is gone.
    ///
    /// Register a TCP socket after `connect`: Linux reports one that was never connected at once.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Kqueue, Token};
    /// # use std::os::fd::AsFd;
    /// let queue = Kqueue::new()?;
    /// let (reader, writer) = std::io::pipe()?;
    /// queue.apply(&[Change::add_write(writer.as_fd(), Token(7))]).all()?;
    /// # drop(reader);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn add_write(descriptor: BorrowedFd<'fd>, token: Token) -> Self {
        Change::add(Source::Write(descriptor), token, Wanted::Everything)
    }

    /// Report something that happens to an open file or directory. What this system has is
    /// [`VnodeEvents::SUPPORTED`]; of a directory, Linux does not report [`VnodeEvents::DELETE`].
    ///
    /// On Linux it needs /proc, and the queue holds the file open by a duplicate. What is no file, such as a pipe or a
    /// socket, is refused; so is a named pipe on Linux.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Kqueue, Token, VnodeEvents};
    /// # use std::os::fd::AsFd;
    /// let queue = Kqueue::new()?;
    /// let directory = std::fs::File::open(std::env::temp_dir())?;
    /// queue.apply(&[Change::add_vnode(directory.as_fd(), VnodeEvents::WRITE, Token(7))]).all()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn add_vnode(descriptor: BorrowedFd<'fd>, wanted: VnodeEvents, token: Token) -> Self {
        Change::add(Source::Vnode(descriptor), token, Wanted::Vnode(wanted))
    }

    /// Delete the registration. The rule is to do so before a descriptor is closed.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Kqueue, Source, Token};
    /// # use std::os::fd::AsFd;
    /// # let queue = Kqueue::new()?;
    /// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// # queue.apply(&[Change::add_read(socket.as_fd(), Token(7))]).all()?;
    /// queue.apply(&[Change::delete(Source::Read(socket.as_fd()))]).all()?;
    /// drop(socket);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn delete(source: Source<'fd>) -> Self {
        Change::new(source, Action::Delete)
    }

    /// Report a registration again that was disabled, by [`Change::disable`] or by having fired as
    /// [`dispatch`](Change::dispatch). Token, mode and what is wanted are as they were added. What is ready at this
    /// moment is reported, also to an edge-triggered registration.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Kqueue, Source, Token};
    /// # use std::os::fd::AsFd;
    /// # let queue = Kqueue::new()?;
    /// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// queue.apply(&[Change::add_read(socket.as_fd(), Token(7)).disabled()]).all()?;
    /// queue.apply(&[Change::enable(Source::Read(socket.as_fd()))]).all()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn enable(source: Source<'fd>) -> Self {
        Change::new(source, Action::Enable)
    }

    /// Keep the registration and stop reporting it until it is enabled.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Kqueue, Source, Token};
    /// # use std::os::fd::AsFd;
    /// # let queue = Kqueue::new()?;
    /// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// queue.apply(&[Change::add_write(socket.as_fd(), Token(7))]).all()?;
    /// queue.apply(&[Change::disable(Source::Write(socket.as_fd()))]).all()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn disable(source: Source<'fd>) -> Self {
        Change::new(source, Action::Disable)
    }

    /// Edge-triggered: report when something new arrives, not for as long as it is there. Read or write until the
    /// call would block, or the next event may never come.
    ///
    /// Belongs to an add of Read or Write; on any other change it is answered with `InvalidInput`, as are all the modes
    /// on a change that is not an add.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Kqueue, Token};
    /// # use std::os::fd::AsFd;
    /// # let queue = Kqueue::new()?;
    /// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// queue.apply(&[Change::add_read(socket.as_fd(), Token(7)).edge()]).all()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn edge(self) -> Self {
        self.with_mode(Mode::EDGE)
    }

    /// Report once; the registration is gone with its first event. Excludes [`dispatch`](Change::dispatch).
    ///
    /// A kqueue does not look again before it reports a one-shot: it may be for bytes that were read meanwhile.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Kqueue, Token};
    /// # use std::os::fd::AsFd;
    /// # let queue = Kqueue::new()?;
    /// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// queue.apply(&[Change::add_write(socket.as_fd(), Token(7)).one_shot()]).all()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn one_shot(self) -> Self {
        self.with_mode(Mode::ONE_SHOT)
    }

    /// Report once, then stay disabled until [`Change::enable`]. Excludes [`one_shot`](Change::one_shot).
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Kqueue, Token};
    /// # use std::os::fd::AsFd;
    /// # let queue = Kqueue::new()?;
    /// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// queue.apply(&[Change::add_write(socket.as_fd(), Token(7)).dispatch()]).all()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn dispatch(self) -> Self {
        self.with_mode(Mode::DISPATCH)
    }

    /// Add the registration, but report it only once it is enabled.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Kqueue, Token};
    /// # use std::os::fd::AsFd;
    /// # let queue = Kqueue::new()?;
    /// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// queue.apply(&[Change::add_read(socket.as_fd(), Token(7)).disabled()]).all()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn disabled(mut self) -> Self {
        match &mut self.action {
            Action::Add(addition) => addition.disabled = true,
            _ => self.mistake = Some(ONLY_ADD),
        }
        self
    }

    /// Report a descriptor as readable from this many bytes on, or as writable from this much room on.
    ///
    /// Zero is as if nothing had been said. `Unsupported` on Linux. macOS holds the number between 1 and the size of
    /// the socket's buffer.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Kqueue, Token};
    /// # use std::os::fd::AsFd;
    /// # let queue = Kqueue::new()?;
    /// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// let receipts = queue.apply(&[Change::add_read(socket.as_fd(), Token(7)).low_water(512)]);
    /// assert_eq!(receipts.all().is_ok(), cfg!(not(target_os = "linux")));
    /// # std::io::Result::Ok(())
    /// ```
    #[cfg_attr(docsrs, doc(cfg(not(target_os = "linux"))))]
    pub fn low_water(mut self, bytes: usize) -> Self {
        match (&mut self.action, self.source) {
            (Action::Add(_), Source::Read(_) | Source::Write(_)) if bytes == 0 => {}
            (Action::Add(addition), Source::Read(_) | Source::Write(_)) => addition.wanted = Wanted::LowWater(bytes),
            _ => self.mistake = Some("a low-water mark belongs to an add of Read or Write"),
        }
        self
    }

    fn with_mode(mut self, mode: Mode) -> Self {
        match &mut self.action {
            Action::Add(addition) => addition.mode |= mode,
            _ => self.mistake = Some(ONLY_ADD),
        }
        self
    }

    /// Whether this change can be made of its source at all, on any system.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if let Some(mistake) = self.mistake {
            return Err(Failure::Invalid(mistake));
        }
        let Action::Add(addition) = &self.action else { return Ok(()) };
        if addition.mode.contains(Mode::EDGE) && !matches!(self.source, Source::Read(_) | Source::Write(_)) {
            return Err(Failure::Invalid("an edge belongs to Read or Write: others report what is new in any case"));
        }
        if addition.mode.contains(Mode::ONE_SHOT | Mode::DISPATCH) {
            return Err(Failure::Invalid(match addition.wanted {
                Wanted::Schedule(Schedule::After(_) | Schedule::At(_)) => {
                    "a timer that fires once is gone when it has: there is nothing for dispatch to keep; use Every"
                }
                _ => "one-shot deletes what fired and dispatch keeps it: choose one of them",
            }));
        }
        match addition.wanted {
            Wanted::Schedule(Schedule::Every(period)) if period.is_zero() => {
                Err(Failure::Invalid("a periodic timer needs a period above zero"))
            }
            Wanted::Process(wanted) if wanted.is_empty() => Err(Failure::Invalid(NOTHING_WANTED)),
            Wanted::Vnode(wanted) if wanted.is_empty() => Err(Failure::Invalid(NOTHING_WANTED)),
            _ => Ok(()),
        }
    }
}

impl Change<'static> {
    /// Report a timer.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Kqueue, Schedule, TimerId, Token};
    /// # use std::time::Duration;
    /// # let queue = Kqueue::new()?;
    /// let second = Schedule::Every(Duration::from_secs(1));
    /// queue.apply(&[Change::add_timer(TimerId(1), second, Token(7))]).all()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn add_timer(timer: TimerId, schedule: Schedule, token: Token) -> Self {
        let mut change = Change::add(Source::Timer(timer), token, Wanted::Schedule(schedule));
        if !matches!(schedule, Schedule::Every(_)) {
            change = change.with_mode(Mode::ONE_SHOT);
        }
        change
    }

    /// Report a signal to this process. Block it first with a [`SignalGuard`](crate::SignalGuard): a queue reports
    /// signals besides what they do otherwise, which for most of them is to end the process.
    ///
    /// On Linux one queue at a time can have a signal: another gets `AlreadyExists`. There a signal that is not blocked
    /// in the thread that adds it is refused with `InvalidInput`, since no queue would ever see it, and the thread that
    /// waits has to have it blocked as well.
    ///
    /// What is sent to one thread of the process (pthread_kill(3)) is not promised to be reported: on Linux it is if
    /// that thread is the one that waits (signalfd(2)), on macOS never (`psignal_internal` in XNU bsd/kern/kern_sig.c).
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Kqueue, Signal, SignalGuard, Token};
    /// let guard = SignalGuard::block(&[Signal::User1])?;
    /// let queue = Kqueue::new()?;
    /// queue.apply(&[Change::add_signal(Signal::User1, Token(7))]).all()?;
    /// # drop(guard);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn add_signal(signal: Signal, token: Token) -> Self {
        Change::add(Source::Signal(signal), token, Wanted::Everything)
    }

    /// Report what another process does. What this system has is [`ProcessEvents::SUPPORTED`].
    ///
    /// A child that has ended already and was not reaped is reported by the next wait. On macOS, NetBSD and OpenBSD
    /// that does not make the queue readable to another one that watches it, since the kernel does not know of it.
    ///
    /// # Errors
    ///
    /// A process that is not there is answered with the system's own error (ESRCH); Linux before 5.3 answers
    /// `Unsupported`.
    ///
    /// ```
    /// # use parrot_kqueue::{Change, Kqueue, ProcessEvents, ProcessId, Token};
    /// let queue = Kqueue::new()?;
    /// let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn()?;
    /// let process = ProcessId::of(&child)?;
    /// queue.apply(&[Change::add_process(process, ProcessEvents::EXIT, Token(7))]).all()?;
    /// # drop(child.stdin.take());
    /// # child.wait()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn add_process(process: ProcessId, wanted: ProcessEvents, token: Token) -> Self {
        Change::add(Source::Process(process), token, Wanted::Process(wanted))
    }
}

const ONLY_ADD: &str = "a mode belongs to an add: enabling keeps the one it was added with";
const NOTHING_WANTED: &str = "name at least one thing to be told of";

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::fd::AsFd, time::Duration};

    #[test]
    fn a_change_that_makes_no_sense_says_so_instead_of_being_ignored() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let read = Change::add_read(reader.as_fd(), Token(1));
        assert!(read.check().is_ok());
        assert!(read.edge().one_shot().check().is_ok());
        let senseless = [
            read.one_shot().dispatch(),
            Change::delete(Source::Read(reader.as_fd())).edge(),
            Change::enable(Source::Read(reader.as_fd())).disabled(),
            Change::add_signal(Signal::Hangup, Token(1)).low_water(1),
            Change::add_timer(TimerId(1), Schedule::Every(Duration::ZERO), Token(1)),
            Change::add_timer(TimerId(1), Schedule::After(Duration::ZERO), Token(1)).dispatch(),
            Change::add_timer(TimerId(1), Schedule::Every(Duration::MAX), Token(1)).edge(),
            Change::add_vnode(reader.as_fd(), VnodeEvents::empty(), Token(1)),
        ];
        for change in senseless {
            assert!(matches!(change.check(), Err(Failure::Invalid(_))), "{change:?}");
        }
    }
}
