//! What happens between events: timeouts, retries that no event triggers, the ends of the window and of the run.

use std::io;

use super::Worker;
use crate::connection::Phase;
use crate::course::Stage;
use crate::failure::Failure;

impl Worker<'_> {
    /// Moves to the next stage if it is time, fails what has timed out, and hands over live figures.
    pub(super) fn tick(&mut self, now: u64) -> io::Result<()> {
        if !self.course.goes_on(now) {
            return Ok(());
        }
        if self.course.has_to_close(now, self.hopeless()) {
            self.send_due(now)?;
            self.course.close_window(now, self.open());
        }
        self.fail_slow(now)?;
        self.retry()?;
        if self.course.stage == Stage::Drain {
            self.end_drain(now)?;
        }
        self.course.end_tick(now);
        Ok(())
    }

    /// Sends, and opens connections, where no event will trigger it.
    fn retry(&mut self) -> io::Result<()> {
        let open_loop = self.course.schedule.is_some();
        for index in 0..self.sending {
            let Some(connection) = self.connections.get(index) else { break };
            if connection.has_unsent() {
                self.flush(index)?; // after ENOBUFS no event may come
            } else if connection.phase == Phase::Closed && (open_loop || connection.begun > 0) {
                self.begin_next(index, self.now())?;
            }
        }
        Ok(())
    }

    /// Ends the run once the last answers are back or the timeout has passed.
    fn end_drain(&mut self, now: u64) -> io::Result<()> {
        let owed = self.course.has_more() || self.connections.iter().any(|one| one.owed > 0);
        // A stopped run does not wait for messages under way, and does not count them as failed.
        let (too_long, stopped) = (self.course.has_drained_for(now, self.plan.timeout), self.shared.stopped());
        if too_long && !stopped {
            for index in 0..self.sending {
                if self.connections.get(index).is_some_and(|one| one.under_way() > 0 || one.owed > 0) {
                    self.fail(index, Failure::Timeout)?;
                }
            }
            self.course.tally.unsent += self.course.give_up_rest();
        }
        if too_long || stopped || (self.course.under_way == 0 && !owed) {
            self.course.stage = Stage::Done;
        }
        Ok(())
    }
}
