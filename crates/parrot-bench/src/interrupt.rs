//! The first Ctrl-C ends the measurement and writes the results so far. The second one ends the program and its servers,
//! and so does a panic. A terminal that is closed counts as the first Ctrl-C.

use std::panic;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use parrot_kqueue::{Change, Events, Kqueue, Signal, SignalGuard, Token};
use parrot_load::Stop;
use rustix::process::{Pid, kill_process_group};

/// The exit code that shells report for a program that SIGINT ended.
pub(crate) const INTERRUPTED: u8 = 130;
/// Marks the events of signals of which a second one ends the program.
const AGAIN: Token = Token(0);
/// Marks those of SIGHUP. A shell and the system may both send it for one terminal.
const ONCE: Token = Token(1);

/// Whether to stop, and the servers that must be killed with the program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt {
    pub(crate) stop: Stop,
    servers: Arc<Mutex<Vec<Pid>>>,
}

impl Interrupt {
    /// Handles SIGINT, SIGTERM and SIGHUP for as long as the guard lives. From now on a panic kills the servers.
    ///
    /// # Errors
    ///
    /// If the system refuses a queue or a thread.
    pub(crate) fn take() -> Result<(Interrupt, SignalGuard)> {
        let interrupt = Interrupt::default();
        let mut signals = vec![(Signal::Interrupt, AGAIN), (Signal::Terminate, AGAIN)];
        if !ignores_hangup() {
            signals.push((Signal::Hangup, ONCE));
        }
        let guard = SignalGuard::block(&signals.iter().map(|(signal, _)| *signal).collect::<Vec<_>>())?;
        let kqueue = Kqueue::new()?;
        let changes: Vec<_> = signals.iter().map(|(signal, token)| Change::add_signal(*signal, *token)).collect();
        kqueue.apply(&changes).all()?;
        let taken = interrupt.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            let mut events = Events::with_capacity(signals.len());
            loop {
                if kqueue.wait(&mut events, None).is_ok() && !events.is_empty() {
                    if taken.stop.stopped() && events.iter().any(|event| event.token() == AGAIN) {
                        // The lock is held until the program exits, so that no other server can start.
                        let _servers = taken.kill_servers();
                        std::process::exit(INTERRUPTED.into());
                    }
                    taken.stop.stop();
                }
            }
        })?;
        interrupt.kill_servers_on_panic();
        Ok((interrupt, guard))
    }

    /// The process groups of the running servers.
    ///
    /// Hold the lock while a server is started or reaped. Otherwise another process could get its number and be killed.
    /// Nothing may panic meanwhile, because a panic takes the lock as well.
    pub(crate) fn servers(&self) -> MutexGuard<'_, Vec<Pid>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes every panic of this program kill the servers.
    ///
    /// A release aborts after a panic, and then no destructor runs.
    fn kill_servers_on_panic(&self) {
        let (earlier, taken) = (panic::take_hook(), self.clone());
        panic::set_hook(Box::new(move |panic| {
            drop(taken.kill_servers());
            earlier(panic);
        }));
    }

    /// Kills the servers. No other one can start or be reaped while the lock is held that this returns.
    ///
    /// Of all signals, only this one also ends a process that is stopped (POSIX.1-2017, 2.4.3 Signal Actions).
    fn kill_servers(&self) -> MutexGuard<'_, Vec<Pid>> {
        let servers = self.servers();
        for server in servers.iter() {
            let _ = kill_process_group(*server, rustix::process::Signal::KILL);
        }
        servers
    }
}

/// Whether the program was started to go on without a terminal, as by nohup(1). A signal that is blocked would be
/// reported all the same (`sig_ignored` in Linux's kernel/signal.c). Other systems do not say.
fn ignores_hangup() -> bool {
    // proc_pid_status(5): a mask in hexadecimal, whose lowest bit is signal 1.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::Command;

    use rustix::process::Signal;

    use super::*;
    use crate::stopping;

    #[test]
    fn a_panic_kills_servers_even_if_they_are_stopped() {
        let interrupt = Interrupt::default();
        interrupt.kill_servers_on_panic();
        let mut server = Command::new("sleep").arg("1000").process_group(0).spawn().expect("a process");
        interrupt.servers().push(Pid::from_child(&server));
        stopping::stop(&[server.id()]).expect("a process that stops");
        assert!(std::thread::spawn(|| panic!("on purpose")).join().is_err());
        assert_eq!(server.wait().expect("its end").signal(), Some(Signal::KILL.as_raw()));
    }
}
