//! What the pages are about: the server, the program around it, and the history of both.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parrot_server::{Handle, Statistics};

use crate::history::History;

/// What the pages show of a program, beside the numbers of its server.
#[derive(Default)]
pub struct Program {
    /// Its version.
    pub version: String,
    /// Its settings as they are now, by the names of its options. The pages ask each time, on their own thread.
    pub settings: Option<Box<Settings>>,
    /// The lines of its log so far, once it has one. The pages ask each time, on their own thread.
    pub log: Option<Box<Log>>,
}

/// Returns names and values.
pub(crate) type Settings = dyn Fn() -> Vec<(&'static str, String)> + Send + Sync;
/// Returns the lines of a log, if there is one.
pub(crate) type Log = dyn Fn() -> Option<LogLines> + Send + Sync;

/// How many lines a log has had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct LogLines {
    /// Lines written.
    pub written: u64,
    /// Lines dropped, because the log was behind or failed.
    pub dropped: u64,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("version", &self.version).finish_non_exhaustive()
    }
}

/// The subject of all pages.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) server: Handle,
    pub(crate) program: Program,
    /// When the pages were first served, which is about when the process was started.
    pub(crate) started: SystemTime,
    history: Mutex<History>,
    woken: Mutex<Option<Instant>>,
}

/// What a page shows, all of the same moment.
#[derive(Debug)]
pub(crate) struct Numbers {
    pub(crate) server: Statistics,
    pub(crate) log: Option<LogLines>,
}

impl Watch {
    pub(crate) fn new(server: Handle, program: Program) -> Arc<Watch> {
        let (history, woken) = Default::default();
        Arc::new(Watch { server, program, started: SystemTime::now(), history, woken })
    }

    pub(crate) fn numbers(&self) -> Numbers {
        Numbers { server: self.server.statistics(), log: self.program.log.as_ref().and_then(|log| log()) }
    }

    /// Adds a sample to the history.
    pub(crate) fn sample(&self) {
        let numbers = self.numbers();
        self.history().add(Instant::now(), numbers);
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the loop, unless another request has done so within the last ten milliseconds. So however many clients ask
    /// for the server's health, the loop hardly notices.
    pub(crate) fn wake(&self) {
        const INTERVAL: Duration = Duration::from_millis(10);
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        if woken.is_some_and(|woken| woken.elapsed() < INTERVAL) {
            return;
        }
        *woken = Some(Instant::now());
        if let Err(error) = self.server.wake() {
            tracing::warn!(target: "parrot_admin", %error, "cannot wake the server to see whether it is healthy");
        }
    }

    /// When the process was started, in seconds since 1970.
    pub(crate) fn started_at(&self) -> f64 {
        self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    }
}
