//! The signals that a server acts on, taken before any thread starts.

use std::io;

use parrot_kqueue::{Signal, SignalGuard};

/// SIGINT and SIGTERM drain (a second one ends at once), SIGHUP calls
/// [`Config::on_hangup`](crate::Config::on_hangup), SIGUSR1 asks for statistics, and so does SIGINFO (Ctrl-T) on the
/// systems that have it.
///
/// The value keeps these signals blocked in the thread that took them and in the threads started afterwards, so that
/// they reach the event queue and nothing else. Dropped, it forgets those that wait and restores the thread's mask.
#[derive(Debug)]
pub struct Signals {
    _guard: SignalGuard,
}

impl Signals {
    /// Takes the signals. Call this first thing in `main`: threads that run already would still be interrupted, and
    /// ended, by them.
    ///
    /// # Errors
    ///
    /// What the system answers to a change of the signal mask; none is known to happen.
    pub fn take() -> io::Result<Signals> {
        Ok(Signals { _guard: SignalGuard::block(Signals::all())? })
    }

    /// The signals in question on this system.
    pub(crate) fn all() -> &'static [Signal] {
        &[
            Signal::Interrupt,
            Signal::Terminate,
            Signal::Hangup,
            Signal::User1,
            #[cfg(not(target_os = "linux"))]
            Signal::Info,
        ]
    }
}
