//! When a connection is idle, and what the loop may leave for later.

use crate::connection::Connection;
use crate::host::SimulatedHost;
use crate::memory::LONGEST_MEMORY_PAUSE;

impl SimulatedHost {
    /// When a connection is due to be closed as idle if it was last active at `since`.
    pub(crate) fn idle_due(&self, since: u64) -> Option<u64> {
        let idle = self.plan.limits.idle_timeout?;
        Some(since + idle.as_nanos() as u64)
    }

    /// Whether no byte of the connection has moved for the idle timeout, less an eighth of it.
    ///
    /// The loop knows when the turn in which a byte moved began. It looks at when that turn ended only if the turn took
    /// longer than an eighth of the timeout.
    pub(crate) fn is_idle(&self, connection: &Connection) -> bool {
        let early = self.plan.limits.idle_timeout.map_or(0, |idle| idle.as_nanos() as u64 / 8);
        self.idle_due(connection.active).is_some_and(|due| due <= self.turn_time + early)
    }

    /// Whether the peer does not count as idle, because the loop has not received its input although there is room for
    /// it, or has no memory to look for input.
    pub(crate) fn is_excused(&self, connection: &Connection) -> bool {
        (connection.hinted && !self.is_full(connection))
            || connection.memory_short.is_some()
            || self.may_lack_buffer(connection)
    }

    /// Whether the connection's buffer has no room for what the peer sends.
    pub(crate) fn is_full(&self, connection: &Connection) -> bool {
        let used = connection.filled + self.prefix_length(connection);
        connection.owed() > 0 && used >= self.buffer_size(connection)
    }

    /// When the loop has to close the connection as idle. The timeout starts again while the peer is excused.
    pub(crate) fn idle_close_due(&self, connection: &Connection) -> Option<u64> {
        self.idle_due(connection.active_until.max(connection.excused)).filter(|_| !self.is_excused(connection))
    }

    /// Whether the loop may leave a connection's input, because it has no room or no memory for it.
    pub(crate) fn may_leave_input(&self, connection: &Connection) -> bool {
        // The loop can find the end of the input without a buffer.
        let needs_none = connection.unreceived() == 0
            && (connection.read_on || self.drain_deadline.is_some())
            && !self.owes_greeting(connection);
        let no_buffer = self.lacks_buffer(connection) && !needs_none;
        self.is_full(connection) || no_buffer || connection.memory_short.is_some() || self.may_lack_buffer(connection)
    }

    /// Whether memory for a buffer was refused lately, perhaps for this connection.
    pub(crate) fn may_lack_buffer(&self, connection: &Connection) -> bool {
        let lately = self.last_refused.is_some_and(|since| self.turn_time < since + LONGEST_MEMORY_PAUSE);
        lately && connection.owed() == 0 && !connection.awaits_header()
    }

    /// Whether the connection needs a buffer to receive, and none is free.
    pub(crate) fn lacks_buffer(&self, connection: &Connection) -> bool {
        connection.owed() == 0 && self.is_pool_empty() && !connection.awaits_header()
    }
}
