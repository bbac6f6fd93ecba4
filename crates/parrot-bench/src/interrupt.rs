//! The first Ctrl-C ends the measurement and writes the results so far. The second one ends the program and its server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use parrot_kqueue::{Change, Events, Kqueue, Signal, SignalGuard, Token};
use parrot_load::Stop;
use rustix::process::{Pid, kill_process_group};

/// The exit code that shells report for a program that SIGINT ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// Whether to stop, and the server that must be killed with the program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt {
    pub(crate) stop: Stop,
    server: Arc<Mutex<Option<Pid>>>,
}

impl Interrupt {
    /// Handles SIGINT and SIGTERM for as long as the guard lives.
    ///
    /// # Errors
    ///
    /// If the system refuses a queue or a thread.
    pub(crate) fn take() -> Result<(Interrupt, SignalGuard)> {
        let interrupt = Interrupt::default();
        let signals = [Signal::Interrupt, Signal::Terminate];
        let guard = SignalGuard::block(&signals)?;
        let kqueue = Kqueue::new()?;
        kqueue.apply(&signals.map(|signal| Change::add_signal(signal, Token(0)))).all()?;
        let taken = interrupt.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            let mut events = Events::with_capacity(signals.len());
            loop {
                if kqueue.wait(&mut events, None).is_ok() && !events.is_empty() {
                    if taken.stop.stopped() {
                        // The lock is held until the program exits, so that no other server can start.
                        let server = taken.server();
                        if let Some(server) = *server {
                            let _ = kill_process_group(server, rustix::process::Signal::KILL);
                        }
                        std::process::exit(INTERRUPTED.into());
                    }
                    taken.stop.stop();
                }
            }
        })?;
        Ok((interrupt, guard))
    }

    /// The process group of the running server.
    ///
    /// Hold the lock while a server is started or reaped. Otherwise another process could get its number and be killed.
    pub(crate) fn server(&self) -> MutexGuard<'_, Option<Pid>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
