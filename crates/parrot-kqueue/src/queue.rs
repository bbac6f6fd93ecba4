//! The queue itself: one type in front of the system's own.

use crate::{Change, Events, Receipts, Token, Waker, sys, timeout};
use std::{
    fmt, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    time::Duration,
};

/// A queue of events: the system's own kqueue, or on Linux the same contract kept over epoll.
///
/// It owns its descriptor, which is closed on exec. It can be sent to another thread but not shared between threads: a
/// wait in each of two would take events from the other, and on NetBSD such waits have raced (golang/go issue 42515).
/// What another thread needs is a [`Waker`].
///
/// A queue can itself be watched for readability by another one: it is readable while it has events.
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
    /// What the system answers: `EMFILE` and `ENFILE` when descriptors have run out. A queue takes one, and each waker
    /// two on NetBSD and OpenBSD. On Linux a queue takes two, and later one for the timers of each clock, one for
    /// signals, two for files, and one for each file, process and waker; what is asked for when they have run out is
    /// answered with the same errors.
    pub fn new() -> io::Result<Kqueue> {
        Ok(Kqueue { queue: sys::Queue::new()? })
    }

    /// Makes changes, at once and each on its own, and answers each. It never waits and brings no events.
    ///
    /// kqueue takes the whole list in one system call, epoll a call for each change.
    pub fn apply(&self, changes: &[Change<'_>]) -> Receipts {
        self.queue.apply(changes)
    }

    /// Waits until there is at least one event or the time is up, and fills the list with what there is.
    ///
    /// `None` waits for as long as it takes, a zero duration not at all. The timeout is rounded up to what the system
    /// can do (Linux: milliseconds) and cut below 24 hours. A wait may end early without an event, so time limits are
    /// the caller's to keep, by a deadline.
    ///
    /// What does not fit the list is for the next wait, and no kind of event is left out for long because there is
    /// always enough of another to fill it.
    ///
    /// # Errors
    ///
    /// `Interrupted` when a signal handler ran, and on Linux also when the process was stopped and went on (signal(7)):
    /// the list is empty, nothing is lost, and the program may wait again. Anything else means that the queue is
    /// unusable, for instance because its descriptor was closed behind its back.
    #[inline]
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.queue.wait(&mut events.list, &mut events.buffer, timeout::clamp(timeout))
    }

    /// Registers a waker: a handle with which any thread can end a wait of this queue, with an event of this token.
    ///
    /// The registration lives until the last clone of the waker is dropped or until it is deleted.
    ///
    /// # Errors
    ///
    /// What the system answers when it is out of descriptors (Linux, NetBSD, OpenBSD: a waker takes one or two) or of
    /// memory.
    pub fn waker(&self, token: Token) -> io::Result<Waker> {
        self.queue.waker(token)
    }

    /// How many events were dropped because they came from a descriptor that was closed while registered, and lived
    /// on in a duplicate. Always 0 where the queue is a kqueue, which forgets a descriptor when it is closed.
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
