//! What the work on a connection needs beside the connection.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use parrot_conn::BufferPool;

use crate::host::Pages;
use crate::statistics::Counters;

/// The parts of the loop that are borrowed as a whole.
#[derive(Debug)]
pub(super) struct Means<H> {
    pub(super) host: H,
    pub(super) pool: BufferPool<Pages>,
    pub(super) shared: Arc<Shared>,
    /// When this turn's wait returned.
    pub(super) now: Instant,
}

impl<H> Means<H> {
    pub(super) fn counters(&self) -> &Counters {
        &self.shared.counters
    }
}

/// What the loop shares with handles on other threads.
#[derive(Debug, Default)]
pub struct Shared {
    /// What the loop counts.
    pub counters: Counters,
    /// Whether a drain is wanted. Set it, then wake the loop.
    pub drain_wanted: AtomicBool,
}
