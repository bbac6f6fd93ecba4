//! How long turns take and how late deadlines are met, for those who watch the server.

use super::moment::Moment;
use super::state::EventLoop;
use crate::host::Host;

impl<H: Host> EventLoop<H> {
    /// Times every turn from now on, which needs the time at its end.
    pub fn time_turns(&mut self) {
        self.times_turns = true;
    }

    /// What follows from the length of a turn. `met` is the earliest deadline that it has met.
    pub(super) fn end_turn(&mut self, met: Option<Moment>) {
        let (counters, pool) = (self.means.counters(), &self.means.pool);
        counters.buffered_bytes.set(pool.lent() as u64);
        if !self.times_turns && self.limits.idle_timeout.is_none() {
            return;
        }
        let ended = self.means.read_clock();
        self.note_long_turn(ended);
        if self.times_turns {
            let counters = self.means.counters();
            counters.turn_times.record(ended.saturating_duration_since(self.means.now));
            if let Some(due) = met {
                counters.lateness.record(ended.saturating_duration_since(due));
            }
        }
    }
}
