//! Checks that a connection is closed for a reason, with nothing owed.

use parrot_server::CloseReason;

use crate::check::Promise;
use crate::connection::{SetUp, Stage};
use crate::coverage::Point;
use crate::host::{SimulatedHost, note};

impl SimulatedHost {
    pub(crate) fn check_close(&mut self, index: usize) {
        self.work += 1;
        let connection = &self.connections[index];
        let watched = connection.watch_read.is_some() || connection.watch_write.is_some();
        if let Some(target) = connection.target {
            self.keep_old(target);
        }
        if watched {
            self.broken(Promise::Descriptors, || format!("connection {index} is closed while it is watched"));
        }
        let connection = &self.connections[index];
        match connection.set_up {
            SetUp::NotTried => {
                self.tally.refused += 1;
                self.coverage.count(Point::Refused);
                let served = self.served();
                if self.plan.limits.max_connections.is_none_or(|max| served < max) {
                    self.broken(Promise::Limit, || format!("connection {index} is refused beside {served}"));
                }
            }
            SetUp::Failed => self.tally.set_up_failures += 1,
            SetUp::Done => self.check_end(index),
        }
        note!(self, "connection {index}: closed");
        self.connections[index].stage = Stage::Closed;
        self.open.retain(|open| *open != index);
    }

    fn check_end(&mut self, index: usize) {
        let connection = &self.connections[index];
        let idle = self.is_idle(connection);
        let late = self.drain_deadline.is_some_and(|due| due <= self.turn_time);
        let reason = match connection.ended {
            Some(reason) => reason,
            // The close itself tells the peer that everything was sent.
            None if connection.is_finished() => CloseReason::PeerFinished,
            None if idle => CloseReason::IdleTimeout,
            None if late => CloseReason::DrainTimeout,
            None => {
                let (owed, waiting, end) = (connection.owed(), connection.unreceived(), connection.end_received);
                return self.broken(Promise::Close, || {
                    format!("connection {index} is closed: {owed} owed, {waiting} unread, end received: {end}")
                });
            }
        };
        // The end of a drain closes every connection that is left, idle or not.
        if reason == CloseReason::IdleTimeout && !late {
            self.check_idle_close(index);
        }
        let connection = &self.connections[index];
        let in_full = match reason {
            CloseReason::PeerFinished => connection.is_finished(),
            CloseReason::Drained => connection.unreceived() == 0 && connection.shut,
            _ => true,
        };
        if !in_full {
            let (sent, received, written) = (connection.sent, connection.received, connection.written);
            self.broken(Promise::Bytes, || {
                format!("connection {index} ends well with {sent} sent of {received} received of {written} written")
            });
        }
        if reason == CloseReason::IdleTimeout {
            match late {
                // The connection may be closed for either reason.
                true => self.idle_or_late += 1,
                false => self.count_idle_close(),
            }
        }
        self.tally.closed[reason as usize] += 1;
        self.coverage.count(match reason {
            CloseReason::PeerFinished => Point::ClosedPeerFinished,
            CloseReason::Reset => Point::ClosedReset,
            CloseReason::IdleTimeout => Point::ClosedIdleTimeout,
            CloseReason::Drained => Point::ClosedDrained,
            CloseReason::DrainTimeout => Point::ClosedDrainTimeout,
            _ => Point::ClosedFailed,
        });
    }

    /// Checks that the loop has tried both directions before it closes a connection as idle, because events may be late
    /// and some systems report room late.
    fn check_idle_close(&mut self, index: usize) {
        let connection = &self.connections[index];
        let turn = self.tally.turns;
        let what = if connection.owed() > 0 && connection.tried_in != turn {
            "no send was tried"
        } else if connection.memory_short.is_some() {
            "there was no memory to look for input"
        } else if !self.is_full(connection)
            && !connection.end_received
            && (connection.hinted || connection.looked_in != turn)
        {
            "its input was not looked at"
        } else {
            return;
        };
        self.broken(Promise::Idle, || format!("connection {index} is closed as idle, but {what}"));
    }
}
