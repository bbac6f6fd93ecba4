//! The signals that a server acts on.

use std::io;

use parrot_kqueue::{Kqueue, Signal, SignalGuard, Token};

use super::Target;

/// SIGINT and SIGTERM drain the server, and a second one ends it at once. With a [drain delay](crate::Limits::drain_delay)
/// SIGTERM begins that first, a second signal begins the drain, and a third one ends the server. SIGHUP calls what was given to
/// [`Server::run_with_signals`](crate::Server::run_with_signals). SIGUSR1 asks for statistics, and so does SIGINFO (Ctrl-T)
/// on the systems that have it.
///
/// The value keeps these signals blocked in the thread that took them and in the threads started afterwards, so that only
/// the event queue receives them. SIGXFSZ is blocked with them, so that a log at the limit on a file's size (`ulimit -f`)
/// is a failed write and not the end of the process. When the value is dropped, pending signals are discarded and the
/// thread's mask is restored.
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
    /// Takes the signals. Call this first thing in `main`, because a signal still interrupts or ends a thread that was
    /// started before.
    ///
    /// # Errors
    ///
    /// When the system refuses to change the signal mask. No such case is known.
    pub fn take() -> io::Result<Signals> {
        Ok(Signals { guard: SignalGuard::block(&[Signals::all(), &[Signal::FileSize]].concat())? })
    }

    /// Has the queue report them, also those that came while the server was set up.
    pub(super) fn add_to(&self, queue: &Kqueue) -> io::Result<()> {
        let signals = Signals::all().iter().enumerate();
        let signals: Vec<(Signal, Token)> =
            signals.map(|(index, signal)| (*signal, Target::Signal(index).into())).collect();
        self.guard.add_to(queue, &signals)
    }

    /// The signals that this system has. [`Target::Signal`] is an index into them.
    pub(super) fn all() -> &'static [Signal] {
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
