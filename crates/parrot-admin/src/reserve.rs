//! A descriptor that the pages keep for the time when descriptors have run out.

use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An open descriptor whose number can be freed for a connection. The server takes every other one for its own
/// connections, and then it matters most that somebody can look.
#[derive(Debug, Clone)]
pub(crate) struct Reserve(Arc<Mutex<Option<File>>>);

/// Fills the reserve when it is dropped.
#[derive(Debug)]
pub(crate) struct Refill(Reserve);

impl Reserve {
    /// A full one, unless descriptors have run out already.
    pub(crate) fn new() -> Reserve {
        let reserve = Reserve(Arc::default());
        reserve.fill();
        reserve
    }

    /// Frees the descriptor. Returns whether there was one.
    pub(crate) fn spend(&self) -> bool {
        self.file().take().is_some()
    }

    /// What a connection keeps until its own descriptor is closed, whose number the reserve then takes.
    pub(crate) fn refill(&self) -> Refill {
        Refill(self.clone())
    }

    /// Takes a descriptor again, unless the reserve has one or none is free.
    pub(crate) fn fill(&self) {
        let mut file = self.file();
        if file.is_none() {
            *file = File::open("/dev/null").ok();
        }
    }

    fn file(&self) -> MutexGuard<'_, Option<File>> {
        // Nothing panics while it holds this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Refill {
    fn drop(&mut self) {
        self.0.fill();
    }
}
