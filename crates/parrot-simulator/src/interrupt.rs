//! Ctrl-C. The first one ends the run after the stories that are running. The second one ends the program at once.

use std::io;
use std::sync::{Arc, OnceLock};

use parrot_kqueue::{Events, Kqueue, Signal, SignalGuard, Token};

/// The exit code that a shell reports for a program that Ctrl-C has ended.
pub(crate) const INTERRUPTED: u8 = 130;

const SIGNALS: [(Signal, Token); 2] = [(Signal::Interrupt, CTRL_C), (Signal::Terminate, Token(1))];
const CTRL_C: Token = Token(0);

/// The name of the signal that interrupted the run, once there is one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<OnceLock<&'static str>>);

impl Interrupt {
    /// Takes SIGINT and SIGTERM for as long as the guard lives.
    ///
    /// # Errors
    ///
    /// If the system provides no queue or no thread.
    pub(crate) fn take() -> io::Result<(Interrupt, SignalGuard)> {
        let interrupt = Interrupt::default();
        let guard = SignalGuard::block(&SIGNALS.map(|(signal, _)| signal))?;
        let kqueue = Kqueue::new()?;
        guard.add_to(&kqueue, &SIGNALS)?;
        let taken = interrupt.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            let mut events = Events::with_capacity(SIGNALS.len());
            loop {
                if kqueue.wait(&mut events, None).is_err() {
                    continue;
                }
                for event in &events {
                    let name = if event.token() == CTRL_C { "Ctrl-C" } else { "SIGTERM" };
                    if taken.0.set(name).is_err() {
                        std::process::exit(INTERRUPTED.into());
                    }
                }
            }
        })?;
        Ok((interrupt, guard))
    }

    /// The name of the signal, if one has arrived.
    pub(crate) fn came(&self) -> Option<&'static str> {
        self.0.get().copied()
    }
}
