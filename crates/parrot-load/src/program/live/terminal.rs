//! The terminal that a screen takes over, and how it gets it back.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The alternate screen, empty and without a cursor (xterm's control sequences, which all terminals of today know).
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[2J";
/// Plain letters, the screen as it was before, and its cursor.
const LEAVE: &[u8] = b"\x1b[0m\x1b[?1049l\x1b[?25h";

/// The terminal on standard error. The report on standard output can go to a file or a pipe.
#[derive(Debug)]
pub(in super::super) struct Terminal {
    /// How it was before.
    saved: Termios,
    /// Whoever writes holds the lock, so that nothing is drawn once it was given back.
    hold: Mutex<Hold>,
    /// Whether something else may have written to it since the last frame.
    stale: AtomicBool,
}

/// Whose the terminal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// It was not taken over yet.
    Before,
    /// The screen is on it.
    Taken,
    /// It was given back for as long as the program is stopped.
    Suspended,
    /// It was given back for good.
    Over,
}

impl Terminal {
    /// The terminal, which is not taken over yet. It is given back when the program panics.
    ///
    /// # Errors
    ///
    /// If standard error is no terminal.
    pub(in super::super) fn open() -> io::Result<Arc<Terminal>> {
        let saved = tcgetattr(io::stderr())?;
        let terminal = Arc::new(Terminal { saved, hold: Mutex::new(Hold::Before), stale: AtomicBool::new(false) });
        let (before, hooked) = (std::panic::take_hook(), Arc::clone(&terminal));
        std::panic::set_hook(Box::new(move |panic| {
            hooked.leave();
            before(panic);
        }));
        Ok(terminal)
    }

    /// Takes it over.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub(super) fn enter(&self) -> io::Result<()> {
        self.take(&mut self.hold())
    }

    /// Takes it over again after the program was stopped.
    pub(in super::super) fn resume(&self) {
        let mut hold = self.hold();
        if matches!(*hold, Hold::Taken | Hold::Suspended) {
            // If it is gone, the next frame finds that out.
            let _ = self.take(&mut hold);
        }
    }

    fn take(&self, hold: &mut Hold) -> io::Result<()> {
        // Keys are not shown, and are read without Enter. Ctrl-C and Ctrl-Z still send their signals.
        let mut modes = self.saved.clone();
        modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        tcsetattr(io::stderr(), OptionalActions::Now, &modes)?;
        if *hold != Hold::Taken {
            *hold = Hold::Taken;
            io::stderr().write_all(ENTER)?;
        }
        self.stale.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Gives it back as it was, for good.
    pub(in super::super) fn leave(&self) {
        self.give_back(Hold::Over);
    }

    /// Gives it back and stops the program, as Ctrl-Z is to do. SIGCONT is the time to [`resume`](Terminal::resume).
    pub(in super::super) fn suspend(&self) {
        self.give_back(Hold::Suspended);
        let _ = kill_process(getpid(), Signal::STOP);
    }

    fn give_back(&self, next: Hold) {
        let mut hold = self.hold();
        let before = *hold;
        if before != Hold::Over {
            *hold = next;
        }
        if before == Hold::Taken {
            // There is nothing to do about a terminal that is gone.
            let _ = io::stderr().write_all(LEAVE);
            let _ = tcsetattr(io::stderr(), OptionalActions::Now, &self.saved);
        }
    }

    /// Writes a frame, unless it was given back.
    pub(super) fn write(&self, frame: &[u8]) -> io::Result<()> {
        let hold = self.hold();
        if *hold == Hold::Taken { io::stderr().write_all(frame) } else { Ok(()) }
    }

    /// Columns and rows. A terminal may not know them.
    pub(super) fn size(&self) -> (u16, u16) {
        let size = tcgetwinsize(io::stderr()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or((80, 24), |size| (size.ws_col, size.ws_row))
    }

    /// Whether the next frame has to draw everything.
    pub(super) fn take_stale(&self) -> bool {
        self.stale.swap(false, Ordering::Relaxed)
    }

    fn hold(&self) -> MutexGuard<'_, Hold> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
