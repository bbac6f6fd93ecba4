//! Signals as a source of events, and the guard that takes them.

use crate::{Kqueue, Token, sys};
use std::{fmt, io, marker::PhantomData};

/// Defines the signals once: name, the system's name, what it is.
macro_rules! signals {
    ($($(#[doc = $about:literal])* $(#[cfg($where:meta)])? $name:ident = $system:ident;)+) => {
        /// A signal that a queue can report.
        ///
        /// Those that stand for a fault of the program itself (SIGSEGV and its kin) and those that cannot be blocked
        /// (SIGKILL, SIGSTOP) are left out: a queue is no place for them.
        ///
        /// ```
        /// use parrot_kqueue::Signal;
        ///
        /// assert_eq!(Signal::Terminate.number(), 15);
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Signal {
            $(
                $(#[doc = $about])*
                $(#[cfg($where)] #[cfg_attr(docsrs, doc(cfg($where)))])?
                $name,
            )+
        }

        impl Signal {
            pub(crate) fn system(self) -> nix::sys::signal::Signal {
                match self {
                    $($(#[cfg($where)])? Signal::$name => nix::sys::signal::Signal::$system,)+
                }
            }
        }
    };
}

signals! {
    /// SIGHUP: the terminal is gone; by custom, a daemon is to reload.
    Hangup = SIGHUP;
    /// SIGINT: Ctrl-C.
    Interrupt = SIGINT;
    /// SIGQUIT: Ctrl-\.
    Quit = SIGQUIT;
    /// SIGPIPE: a write to a pipe or socket that nobody reads. `std` ignores it in a Rust program.
    Pipe = SIGPIPE;
    /// SIGALRM: `alarm` or `setitimer`.
    Alarm = SIGALRM;
    /// SIGTERM: the polite request to end.
    Terminate = SIGTERM;
    /// SIGURG: urgent data on a socket.
    Urgent = SIGURG;
    /// SIGTSTP: Ctrl-Z.
    TerminalStop = SIGTSTP;
    /// SIGCONT: go on after a stop.
    Continue = SIGCONT;
    /// SIGCHLD: a child ended, stopped or went on.
    Child = SIGCHLD;
    /// SIGTTIN: a read from the terminal in the background.
    TerminalInput = SIGTTIN;
    /// SIGTTOU: a write to the terminal in the background.
    TerminalOutput = SIGTTOU;
    /// SIGIO: input or output is possible.
    Io = SIGIO;
    /// SIGXCPU: the limit of processor time.
    ProcessorTime = SIGXCPU;
    /// SIGXFSZ: the limit of a file's size.
    FileSize = SIGXFSZ;
    /// SIGVTALRM: the process's timer of processor time.
    VirtualAlarm = SIGVTALRM;
    /// SIGPROF: the profiling timer.
    Profile = SIGPROF;
    /// SIGWINCH: the terminal's size changed.
    WindowChange = SIGWINCH;
    /// SIGINFO: Ctrl-T. Not on Linux.
    #[cfg(not(target_os = "linux"))]
    Info = SIGINFO;
    /// SIGUSR1: whatever the program says it means.
    User1 = SIGUSR1;
    /// SIGUSR2: whatever the program says it means.
    User2 = SIGUSR2;
}

impl Signal {
    /// The system's number of the signal.
    ///
    /// ```
    /// assert_eq!(parrot_kqueue::Signal::Hangup.number(), 1);
    /// ```
    #[must_use]
    pub fn number(self) -> i32 {
        self.system() as i32
    }
}

/// Blocks signals in this thread and in those it starts, for as long as it lives.
///
/// A queue reports signals besides what they do otherwise, so a signal that would end the process has to be blocked.
/// The mask of a thread is inherited by the threads it starts and by no others: take the guard first thing in `main`,
/// before anything has started a thread. It cannot be sent to another thread because it restores the mask of the one
/// that made it. Programs that are started meanwhile inherit the mask as well.
///
/// Dropped, it restores the mask as it was, and discards what is pending of those of its signals that were not blocked
/// before it; the others are left to whoever blocked them, such as a guard that lives longer. A program that is about
/// to exit anyway may as well forget the guard and end.
///
/// On the kqueue systems it finds the end of what is pending by sending SIGUSR2 to its own thread, only if one of its
/// signals was posted: there a program must not ignore SIGUSR2, and a guard of it is `Unsupported`.
///
/// ```
/// use parrot_kqueue::{Kqueue, Signal, SignalGuard, Token};
///
/// let guard = SignalGuard::block(&[Signal::Terminate, Signal::Interrupt])?;
/// let queue = Kqueue::new()?;
/// guard.add_to(&queue, &[(Signal::Terminate, Token(0)), (Signal::Interrupt, Token(0))])?;
/// // The loop of the program runs here, and ends with the first event of Token(0).
/// drop(guard);
/// # std::io::Result::Ok(())
/// ```
#[must_use = "the signals are unblocked when the guard is dropped"]
pub struct SignalGuard {
    guard: sys::Guard,
    /// The mask belongs to a thread, so the guard must stay on its own.
    thread: PhantomData<*const ()>,
}

impl SignalGuard {
    /// Blocks these signals.
    ///
    /// # Errors
    ///
    /// What the system answers: in practice `EMFILE` or `ENFILE` when it is out of descriptors, of which the guard
    /// needs one. `Unsupported` for [`Signal::User2`] on the kqueue systems.
    ///
    /// ```
    /// use parrot_kqueue::{Signal, SignalGuard};
    ///
    /// let guard = SignalGuard::block(&[Signal::Terminate, Signal::Interrupt])?;
    /// # drop(guard);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn block(signals: &[Signal]) -> io::Result<SignalGuard> {
        Ok(SignalGuard { guard: sys::Guard::block(signals)?, thread: PhantomData })
    }

    /// Has the queue report these signals, also those that were posted since the guard blocked them.
    ///
    /// [`Change::add_signal`](crate::Change::add_signal) reports on the kqueue systems what is posted from then on.
    /// Whatever a program does between the guard, first thing in `main`, and the queue that watches (it reads its
    /// configuration, it opens files), a signal in that time would be blocked and never seen. With this call it is
    /// reported, as often as it was posted; there it is posted again for that, so that another queue which has reported
    /// the signal before will do so again.
    ///
    /// # Errors
    ///
    /// As for the answers to [`Change::add_signal`](crate::Change::add_signal).
    ///
    /// ```
    /// use parrot_kqueue::{Events, Kqueue, Signal, SignalGuard, Token};
    ///
    /// let guard = SignalGuard::block(&[Signal::User1])?;
    /// // Another process may post the signal now.
    /// let queue = Kqueue::new()?;
    /// guard.add_to(&queue, &[(Signal::User1, Token(0))])?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn add_to(&self, queue: &Kqueue, signals: &[(Signal, Token)]) -> io::Result<()> {
        self.guard.add_to(queue, signals)
    }
}

impl fmt::Debug for SignalGuard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SignalGuard").field("guard", &self.guard).finish()
    }
}
