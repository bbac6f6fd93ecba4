//! What a program asks of its queue.

use crate::{ProcessEvents, ProcessId, Schedule, Signal, TimerId, Token, VnodeEvents, Waker, failure::Failure};
use std::os::fd::BorrowedFd;

/// The source of events, which is kqueue's pair of filter and identifier. It names a registration in its queue.
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

/// One change to what a queue reports. [`Kqueue::apply`](crate::Kqueue::apply) makes it.
///
/// On every system, adding what is already there replaces it, mode and token included, and deleting, enabling or
/// disabling what is not there fails with `NotFound`.
///
/// A registration is level-triggered unless it says otherwise with [`edge`](Change::edge),
/// [`one_shot`](Change::one_shot) or [`dispatch`](Change::dispatch). Modes belong to one filter of one descriptor.
/// Timers, signals, wakers, processes and files have no level, and so no edge either. Each of their events reports what
/// has happened since the one before it.
///
/// ```
/// use parrot_kqueue::{Change, Kqueue, Schedule, Source, TimerId, Token};
/// use std::{net::UdpSocket, os::fd::AsFd, time::Duration};
///
/// let queue = Kqueue::new()?;
/// let socket = UdpSocket::bind("127.0.0.1:0")?;
/// queue
///     .apply(&[
///         Change::add_read(socket.as_fd(), Token(1)),
///         Change::add_write(socket.as_fd(), Token(2)).edge().disabled(),
///         Change::add_timer(TimerId(1), Schedule::After(Duration::from_secs(5)), Token(3)),
///     ])
///     .all()?;
///
/// // Once there is something to send:
/// queue.apply(&[Change::enable(Source::Write(socket.as_fd()))]).all()?;
///
/// // Before the socket is closed:
/// let (read, write) = (Source::Read(socket.as_fd()), Source::Write(socket.as_fd()));
/// queue.apply(&[Change::delete(read), Change::delete(write)]).all()?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a change does nothing until a queue applies it"]
pub struct Change<'fd> {
    pub(crate) source: Source<'fd>,
    pub(crate) action: Action,
    /// A builder call that makes no sense for this change. The receipt reports it.
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

/// What an add says that only its filter understands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    Everything,
    LowWater(#[cfg_attr(target_os = "linux", expect(dead_code, reason = "epoll has no such mark"))] usize),
    Schedule(Schedule),
    Process(ProcessEvents),
    Vnode(VnodeEvents),
}

flag_set! {
    /// How a registration behaves once it has fired. Level-triggered when empty.
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
    /// Sockets, listeners, pipes, terminals and other queues work on every system. Regular files are always ready on
    /// Linux and therefore `Unsupported` there. Watch them with [`Change::add_vnode`].
    ///
    /// Delete the registration before the descriptor is closed. The crate's documentation describes what happens
    /// otherwise.
    pub fn add_read(descriptor: BorrowedFd<'fd>, token: Token) -> Self {
        Change::add(Source::Read(descriptor), token, Wanted::Everything)
    }

    /// Report when a write to this descriptor would not block, because there is room or because the other side is gone.
    ///
    /// Register a TCP socket after `connect`. Linux reports one that was never connected at once.
    pub fn add_write(descriptor: BorrowedFd<'fd>, token: Token) -> Self {
        Change::add(Source::Write(descriptor), token, Wanted::Everything)
    }

    /// Report what happens to an open file or directory. [`VnodeEvents::SUPPORTED`] is what this system reports. Linux
    /// does not report [`VnodeEvents::DELETE`] of a directory.
    ///
    /// On Linux this needs /proc and the permission to read the file, and the queue keeps the file open with a duplicate
    /// of the descriptor. Pipes and sockets are refused, since they are not files, and so are named pipes on Linux.
    pub fn add_vnode(descriptor: BorrowedFd<'fd>, wanted: VnodeEvents, token: Token) -> Self {
        Change::add(Source::Vnode(descriptor), token, Wanted::Vnode(wanted))
    }

    /// Delete the registration. Do this before its descriptor is closed.
    pub fn delete(source: Source<'fd>) -> Self {
        Change::new(source, Action::Delete)
    }

    /// Report a registration again that was disabled, by [`Change::disable`] or by firing as
    /// [`dispatch`](Change::dispatch). It keeps the token and mode that it was added with. Anything that is ready at
    /// this moment is reported, to an edge-triggered registration too.
    pub fn enable(source: Source<'fd>) -> Self {
        Change::new(source, Action::Enable)
    }

    /// Keep the registration and stop reporting it until it is enabled.
    pub fn disable(source: Source<'fd>) -> Self {
        Change::new(source, Action::Disable)
    }

    /// Report when something new arrives, not for as long as it is there (edge-triggered). Read or write until the call
    /// would block, or the next event may never come.
    ///
    /// Only an add of Read or Write can be edge-triggered. On any other change this fails with `InvalidInput`, as every
    /// mode does on a change that is not an add.
    pub fn edge(self) -> Self {
        self.with_mode(Mode::EDGE)
    }

    /// Report once and delete the registration with that event. Excludes [`dispatch`](Change::dispatch).
    ///
    /// A kqueue does not look again before it reports a one-shot, so the event may be for bytes that were read
    /// meanwhile.
    pub fn one_shot(self) -> Self {
        self.with_mode(Mode::ONE_SHOT)
    }

    /// Report once, then stay disabled until [`Change::enable`]. Excludes [`one_shot`](Change::one_shot).
    pub fn dispatch(self) -> Self {
        self.with_mode(Mode::DISPATCH)
    }

    /// Add the registration, but report it only once it is enabled.
    pub fn disabled(mut self) -> Self {
        match &mut self.action {
            Action::Add(addition) => addition.disabled = true,
            _ => self.mistake = Some(ONLY_ADD),
        }
        self
    }

    /// Report a descriptor as readable only with at least this many bytes to read, or as writable only with at least
    /// this much room.
    ///
    /// Zero changes nothing. `Unsupported` on Linux. macOS keeps the number between 1 and the size of the socket's
    /// buffer.
    #[cfg_attr(docsrs, doc(cfg(not(target_os = "linux"))))]
    pub fn low_water(mut self, bytes: usize) -> Self {
        match (&mut self.action, self.source) {
            (Action::Add(_), Source::Read(_) | Source::Write(_)) if bytes == 0 => {}
            (Action::Add(addition), Source::Read(_) | Source::Write(_)) => addition.wanted = Wanted::LowWater(bytes),
            _ => self.mistake = Some("a low-water mark is for an add of Read or Write only"),
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
            return Err(Failure::Invalid(
                "edge() is for Read and Write only, because other filters always report what is new",
            ));
        }
        if addition.mode.contains(Mode::ONE_SHOT | Mode::DISPATCH) {
            return Err(Failure::Invalid(match addition.wanted {
                Wanted::Schedule(Schedule::After(_) | Schedule::At(_)) => {
                    "a timer that fires once is gone after that, so use dispatch() with Schedule::Every only"
                }
                _ => "one_shot() deletes what fired and dispatch() keeps it, so use only one of them",
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
    pub fn add_timer(timer: TimerId, schedule: Schedule, token: Token) -> Self {
        let mut change = Change::add(Source::Timer(timer), token, Wanted::Schedule(schedule));
        if !matches!(schedule, Schedule::Every(_)) {
            change = change.with_mode(Mode::ONE_SHOT);
        }
        change
    }

    /// Report a signal to this process. Block it first with a [`SignalGuard`](crate::SignalGuard). A queue reports
    /// a signal in addition to what the signal does anyway, which for most of them is to end the process.
    ///
    /// On Linux one queue at a time can have a signal, and another gets `AlreadyExists`. The signal must be blocked
    /// there in the thread that adds it, because no queue would see it otherwise, and in the thread that waits. If it
    /// is not blocked in the thread that adds it, the change fails with `InvalidInput`.
    ///
    /// A signal that is sent to one thread of the process (pthread_kill(3)) may go unreported. Linux reports it if that
    /// thread is the one that waits (signalfd(2)). macOS never does (`psignal_internal` in XNU bsd/kern/kern_sig.c).
    pub fn add_signal(signal: Signal, token: Token) -> Self {
        Change::add(Source::Signal(signal), token, Wanted::Everything)
    }

    /// Report what another process does. [`ProcessEvents::SUPPORTED`] is what this system reports.
    ///
    /// A child that ended before it was added, and was not reaped, is reported by the next wait. On macOS, NetBSD and
    /// OpenBSD the kernel does not know of that event, so it does not make the queue readable to another queue that
    /// watches it.
    ///
    /// # Errors
    ///
    /// A process that does not exist is the system's own error (ESRCH). Linux before 5.3 reports `Unsupported`.
    pub fn add_process(process: ProcessId, wanted: ProcessEvents, token: Token) -> Self {
        Change::add(Source::Process(process), token, Wanted::Process(wanted))
    }
}

const ONLY_ADD: &str = "a mode is for an add only, and enabling keeps the mode that was added";
const NOTHING_WANTED: &str = "name at least one event to report";

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::fd::AsFd, time::Duration};

    #[test]
    fn a_change_that_makes_no_sense_is_invalid() {
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
