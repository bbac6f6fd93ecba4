//! Checks of how long the loop waits for a PROXY header.

use crate::check::Promise;
use crate::connection::Connection;
use crate::host::SimulatedHost;
use crate::memory::LONGEST_MEMORY_PAUSE;

/// A connection whose header is late is closed in the same turn, or within this many further turns if more than a
/// thousand deadlines are due.
const LATE_TURNS: u32 = 3;

impl SimulatedHost {
    /// Begins the wait for a connection's header, in the turn in which the connection is accepted.
    pub(crate) fn begin_header_wait(&mut self, index: usize) {
        let due = self.turn_time + self.plan.doors.header_timeout;
        if let Some(header) = &mut self.connections[index].header {
            header.due = due;
        }
    }

    /// Whether a header is awaited that has to be complete by now.
    pub(crate) fn is_header_late(&self, connection: &Connection) -> bool {
        connection.header.as_ref().is_some_and(|header| header.is_awaited() && header.due <= self.turn_time)
    }

    /// The latest end of a wait while this connection's header is awaited.
    pub(crate) fn header_wait_due(&self, connection: &Connection) -> Option<u64> {
        let header = connection.header.as_ref().filter(|header| header.is_awaited())?;
        Some(header.due.max(header.excused.map_or(0, |since| since + LONGEST_MEMORY_PAUSE)))
    }

    /// Why the loop may not close a connection now because of a late header, if it may not.
    pub(crate) fn why_header_not_late(&self, connection: &Connection) -> Option<&'static str> {
        if connection.memory_short.is_some() {
            Some("there was no memory to look for the rest of it")
        } else if connection.hinted || connection.looked_in != self.tally.turns {
            Some("the rest of it was not looked for")
        } else {
            None
        }
    }

    /// Excuses the loop for a header that is late, because there was no memory to look for the rest of it.
    pub(crate) fn excuse_late_header(&mut self, index: usize) {
        let (now, is_late) = (self.turn_time, self.is_header_late(&self.connections[index]));
        if let Some(header) = self.connections[index].header.as_mut().filter(|_| is_late) {
            header.excused = Some(now);
        }
    }

    /// Updates at the end of a turn for how long a header has been late. The loop is excused if it has not received all
    /// that has arrived, or has no memory to look.
    pub(crate) fn observe_header(&mut self, index: usize) {
        let connection = &self.connections[index];
        let Some(due) = self.header_wait_due(connection) else { return };
        let (excused, late) = (connection.hinted || connection.memory_short.is_some(), due <= self.turn_time);
        if excused {
            self.excuse_late_header(index);
        }
        let Some(header) = &mut self.connections[index].header else { return };
        header.late_turns = if late && !excused { header.late_turns + 1 } else { 0 };
        let turns = header.late_turns;
        if turns > LATE_TURNS {
            self.broken(Promise::Header, || {
                format!("connection {index} waits for its header for {turns} turns too long")
            });
        }
    }
}
