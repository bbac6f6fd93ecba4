//! Signals and keys that end a run, and the terminal's part in that.

use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use parrot_kqueue::{Change, Events, Kqueue, Signal, SignalGuard, Source, Token};

use super::INTERRUPTED;
use super::live::Terminal;
use crate::Stop;

/// Signals that end a run.
const ENDING: [Signal; 2] = [Signal::Interrupt, Signal::Terminate];
/// Signals that would leave a screen on the terminal.
const DISTURBING: [Signal; 4] = [Signal::Hangup, Signal::Quit, Signal::TerminalStop, Signal::Continue];
/// The token of standard input. Signals have their numbers.
const KEYS: Token = Token(usize::MAX);

/// Makes Ctrl-C stop the run, which then reports what it has measured. A second Ctrl-C ends the program. If it has a
/// screen, the key q does the same, and other signals give the terminal back first.
///
/// # Errors
///
/// If the system cannot report signals, or there is no room for a thread.
pub(super) fn stop_on_interrupt(stop: &Stop, screen: Option<&Arc<Terminal>>) -> anyhow::Result<SignalGuard> {
    let signals = ENDING.iter().chain(screen.iter().flat_map(|_| &DISTURBING));
    let signals: Vec<Signal> = signals.copied().collect();
    let guard = SignalGuard::block(&signals)?;
    let kqueue = Kqueue::new()?;
    let changes: Vec<Change<'_>> = signals.iter().map(|signal| Change::add_signal(*signal, token(*signal))).collect();
    kqueue.apply(&changes).all()?;
    if screen.is_some() && io::stdin().is_terminal() {
        // macOS refuses some terminals. Ctrl-C works nevertheless.
        let _ = kqueue.apply(&[Change::add_read(io::stdin().as_fd(), KEYS)]).all();
    }
    let (stop, screen) = (stop.clone(), screen.cloned());
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut events = Events::with_capacity(8);
        loop {
            if kqueue.wait(&mut events, None).is_err() {
                continue;
            }
            for event in events.iter() {
                let token = event.token();
                if token == KEYS {
                    if has_quit(&kqueue) {
                        end(&stop, screen.as_deref());
                    }
                } else if ENDING.into_iter().any(|signal| token == self::token(signal)) {
                    end(&stop, screen.as_deref());
                } else if let Some(screen) = &screen {
                    act(token, screen);
                }
            }
        }
    })?;
    Ok(guard)
}

fn token(signal: Signal) -> Token {
    Token(signal.number().unsigned_abs() as usize)
}

/// Stops the run, or ends the program if that was asked for before.
fn end(stop: &Stop, screen: Option<&Terminal>) {
    if stop.stopped() {
        leave_and_exit(screen, INTERRUPTED);
    }
    stop.stop();
}

/// Does to the terminal what the signal asks for, or ends the program as the signal would.
fn act(token: Token, screen: &Terminal) {
    if token == self::token(Signal::TerminalStop) {
        screen.suspend();
    } else if token == self::token(Signal::Continue) {
        screen.resume();
    } else {
        leave_and_exit(Some(screen), 128_u8.saturating_add(u8::try_from(token.0).unwrap_or(0)));
    }
}

fn leave_and_exit(screen: Option<&Terminal>, code: u8) {
    if let Some(screen) = screen {
        screen.leave();
    }
    std::process::exit(code.into());
}

/// Reads the keys that were pressed. Whether one of them is to end the run.
fn has_quit(kqueue: &Kqueue) -> bool {
    let mut keys = [0; 64];
    match rustix::io::read(io::stdin(), &mut keys) {
        Ok(count) if count > 0 => keys.get(..count).is_some_and(|keys| keys.iter().any(|key| b"qQ\x03".contains(key))),
        Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => false,
        // Nobody can press a key any more.
        _ => {
            let _ = kqueue.apply(&[Change::delete(Source::Read(io::stdin().as_fd()))]).all();
            false
        }
    }
}
