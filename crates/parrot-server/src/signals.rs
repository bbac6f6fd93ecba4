//! The signals that a server acts on, taken before any thread starts.

use std::io;

use parrot_kqueue::{Kqueue, Signal, SignalGuard, Token};

/// SIGINT and SIGTERM drain (a second one ends at once), SIGHUP calls what was given to
/// [`Server::run_with_signals`](crate::Server::run_with_signals), SIGUSR1 asks for statistics, and so does SIGINFO
/// (Ctrl-T) on the systems that have it.
///
/// The value keeps these signals blocked in the thread that took them and in the threads started afterwards, so that
/// they reach the event queue and nothing else. Dropped, it forgets those that wait and restores the thread's mask.
///
/// ```no_run
/// use parrot_server::{Config, Server, Signals};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let signals = Signals::take()?; // before any thread
///     let server = Server::bind(Config::default())?;
///     server.run_with_signals(&signals, || ())?;
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Signals {
    guard: SignalGuard,
}

impl Signals {
    /// Takes the signals. Call this first thing in `main`: threads that run already would still be interrupted, and
    /// ended, by them.
    ///
    /// # Errors
    ///
    /// What the system answers to a change of the signal mask; none is known to happen.
    pub fn take() -> io::Result<Signals> {
        Ok(Signals { guard: SignalGuard::block(Signals::all())? })
    }

    /// Has the queue report them with tokens from `first` on, in the order of [`all`](Signals::all); also those that came
    /// while the server was set up.
    pub(crate) fn add_to(&self, queue: &Kqueue, first: usize) -> io::Result<()> {
        let signals = Signals::all().iter().enumerate();
        let signals: Vec<_> = signals.map(|(index, signal)| (*signal, Token(first + index))).collect();
        self.guard.add_to(queue, &signals)
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
