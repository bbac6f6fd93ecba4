//! The queue itself, one type in front of the system's own.

use crate::{Change, Events, Receipts, Token, Waker, sys, timeout};
use std::{
    fmt, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    time::Duration,
};

/// A queue of events: the system's own kqueue, or on Linux the same contract over epoll.
///
/// It owns its descriptor, which is closed on exec. It can be sent to another thread but not shared between threads,
/// since two threads that wait would take events from each other, and on NetBSD such waits have raced (golang/go issue
/// 42515). Give another thread a [`Waker`].
///
/// Another queue can watch this one, which is readable while it has events.
///
/// ```
/// use parrot_kqueue::{Change, Events, Kqueue, Token};
/// use std::{io::Write, net::{TcpListener, TcpStream}, os::fd::AsFd};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let queue = Kqueue::new()?;
/// queue.apply(&[Change::add_read(listener.as_fd(), Token(0))]).all()?;
///
/// let client = TcpStream::connect(listener.local_addr()?)?;
/// let mut events = Events::with_capacity(16);
/// queue.wait(&mut events, None)?;
/// assert!(events.iter().any(|event| event.token() == Token(0)));
/// listener.accept()?;
/// # drop(client);
/// # std::io::Result::Ok(())
/// ```
pub struct Kqueue {
    queue: sys::Queue,
}

impl Kqueue {
    /// Makes an empty queue.
    ///
    /// # Errors
    ///
    /// The system's own error, which is `EMFILE` when the program has run out of descriptors, or an error that names a
    /// [limit of the system](crate#limits-of-the-system). A queue takes one descriptor, and each waker two on NetBSD and
    /// OpenBSD. On Linux a queue takes two, and later one for the timers of each clock, one for signals, two for files,
    /// and one for each file, process and waker. Changes that need one of these fail with the same errors.
    ///
    /// NetBSD before 10 is `Unsupported`.
    pub fn new() -> io::Result<Kqueue> {
        Ok(Kqueue { queue: sys::Queue::new()? })
    }

    /// Makes changes at once, and returns whether each was made. It never waits and reports no events.
    ///
    /// kqueue makes the whole list in one system call, epoll makes a call for each change.
    #[inline]
    pub fn apply(&self, changes: &[Change<'_>]) -> Receipts {
        self.queue.apply(changes)
    }

    /// Waits until there is at least one event or the time is up, and fills the list with what there is.
    ///
    /// `None` waits for as long as it takes, and a zero duration not at all. The timeout is rounded up to what the
    /// system can do (milliseconds on Linux) and cut below 24 hours. A wait may end early without an event, so a caller
    /// with a time limit keeps a deadline.
    ///
    /// Events that do not fit the list are for the next wait. No kind of event starves in a list that is
    /// always full.
    ///
    /// # Errors
    ///
    /// `Interrupted` when a signal handler ran, and on Linux also when the process was stopped and continued
    /// (signal(7)). The list is then empty, nothing is lost, and the program may wait again. Any other error means that
    /// the queue is unusable, for instance because its descriptor was closed behind its back.
    #[inline]
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.queue.wait(&mut events.list, &mut events.buffer, timeout::clamp(timeout))
    }

    /// Registers a waker, with which any thread can end a wait of this queue. The event has this token.
    ///
    /// The registration lives until it is deleted or the last clone of the waker is dropped.
    ///
    /// # Errors
    ///
    /// The system's own error when memory or descriptors have run out, or an error that names a
    /// [limit of the system](crate#limits-of-the-system). A waker takes one descriptor on Linux, two on NetBSD and
    /// OpenBSD, and none elsewhere.
    pub fn waker(&self, token: Token) -> io::Result<Waker> {
        Ok(self.queue.waker(token)?)
    }

    /// How many events were dropped because they came from a descriptor that was closed while registered and lives on
    /// in a duplicate. Always 0 on a kqueue, which forgets a descriptor when it is closed.
    #[must_use]
    pub fn stale_events(&self) -> u64 {
        self.queue.stale_events()
    }
}

impl AsFd for Kqueue {
    /// The descriptor to watch the queue by.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

impl fmt::Debug for Kqueue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Kqueue")
            .field("backend", &sys::BACKEND)
            .field("descriptor", &self.as_fd().as_raw_fd())
            .finish()
    }
}
