//! Ending a wait from another thread.

use std::{fmt, io, ptr, sync::Arc};

/// How a waker reaches its queue on this system.
pub(crate) trait Wake: Send + Sync {
    fn wake(&self) -> io::Result<()>;
}

/// A handle with which any thread can end a wait of a queue. Made by [`Kqueue::waker`](crate::Kqueue::waker).
///
/// A use is kept until a wait reports it, and several uses before that are reported as one event. Clones are the same
/// waker. When the last clone is dropped, the registration goes as soon as every use was reported. The next waker, or
/// the end of the queue, then frees the descriptor where the waker has one.
///
/// ```
/// use parrot_kqueue::{Change, Events, Kqueue, Source, Token};
///
/// let queue = Kqueue::new()?;
/// let waker = queue.waker(Token(1))?;
/// let workers: Vec<_> = (0..4)
///     .map(|_| {
///         let waker = waker.clone();
///         std::thread::spawn(move || waker.wake())
///     })
///     .collect();
/// for worker in workers {
///     worker.join().expect("a worker panicked")?;
/// }
///
/// let mut events = Events::with_capacity(8);
/// queue.wait(&mut events, None)?;
/// assert_eq!(events.len(), 1);
/// queue.apply(&[Change::delete(Source::User(&waker))]).all()?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct Waker {
    handle: Arc<dyn Wake>,
}

impl Waker {
    pub(crate) fn new(handle: Arc<impl Wake + 'static>) -> Self {
        Waker { handle }
    }

    /// Whether this is a clone of the waker that was made with this handle.
    pub(crate) fn has<T>(&self, handle: *const T) -> bool {
        ptr::addr_eq(Arc::as_ptr(&self.handle), handle)
    }

    /// Ends the queue's wait, or the next one if the queue is not waiting. Does nothing once the queue is gone or the
    /// registration deleted.
    ///
    /// # Errors
    ///
    /// The system's own error. None is known to happen.
    pub fn wake(&self) -> io::Result<()> {
        self.handle.wake()
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Waker").finish_non_exhaustive()
    }
}
