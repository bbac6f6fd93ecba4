//! What the work on a connection needs beside the connection.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use parrot_conn::BufferPool;

use super::moment::Moment;
use super::seldom::Seldom;
use crate::host::{Host, Pages};
use crate::listen::CountedListening;
use crate::peer::Peer;
use crate::stage::SharedStage;
use crate::statistics::Counters;

/// The parts of the loop that are borrowed as a whole.
#[derive(Debug)]
pub(super) struct Means<H> {
    pub(super) host: H,
    pub(super) pool: BufferPool<Pages>,
    pub(super) shared: Arc<Shared>,
    /// The warning that a connection was refused because of its PROXY header.
    pub(super) header_warning: Seldom,
    /// When the loop has started.
    pub(super) start: Instant,
    /// When this turn's wait returned.
    pub(super) now: Moment,
}

impl<H: Host> Means<H> {
    /// The time now, which later in a turn is not the turn's.
    pub(super) fn read_clock(&mut self) -> Moment {
        Moment::since(self.start, self.host.now())
    }
}

impl<H> Means<H> {
    /// Reports that a connection is closed because of its PROXY header. A load balancer without headers would have all of
    /// its connections closed, so not only the debug log shows it.
    pub(super) fn refuse_header(&mut self, peer: &Peer, reason: &str) {
        tracing::debug!(target: "parrot_server", %peer, "refused: {reason}");
        if self.header_warning.is_due(self.now) {
            tracing::warn!(
                target: "parrot_server",
                "refused a connection from {peer}: {reason} (further ones are only counted; see whether the load balancer \
                 sends PROXY headers and may do so)"
            );
        }
    }

    /// Has the statistics show how many bytes the buffers may hold.
    pub(super) fn count_buffer_limit(&self) {
        let limit = self.pool.capacity();
        self.shared.counters.buffered_bytes_limit.set(limit as u64);
    }

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
    /// How far the server is on its way to its end.
    pub stage: SharedStage,
    /// What the server listens on, for the handles. The loop counts without this lock.
    pub(crate) listeners: Mutex<Vec<CountedListening>>,
}
