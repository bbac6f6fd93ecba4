//! Checks that a connection is closed for a reason, with nothing owed.

use parrot_server::CloseReason;

use crate::check::Promise;
use crate::connection::{SetUp, Stage};
use crate::coverage::Point;
use crate::host::{SimulatedHost, note};

/// A connection that was closed, until the loop has counted it.
#[derive(Debug)]
pub(crate) struct Closing {
    index: usize,
    /// The reasons that it may be closed for.
    reasons: Vec<CloseReason>,
    /// Why being idle may not be among them.
    not_idle: Option<&'static str>,
    /// Why a late header may not be.
    header_not_late: Option<&'static str>,
    /// What the loop had counted before, by reason.
    counted: [u64; CloseReason::ALL.len()],
}

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
                let served = self.served();
                if self.plan.limits.max_connections.is_some_and(|max| served >= max) {
                    self.tally.refused += 1;
                    self.coverage.count(Point::Refused);
                } else if connection.is_refused && connection.is_reset {
                    self.coverage.count(Point::RefusedByFault);
                } else if connection.stranger {
                    self.tally.untrusted += 1;
                    self.coverage.count(Point::Untrusted);
                } else {
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
        let late = self.drain_deadline.is_some_and(|due| due <= self.turn_time);
        let reasons = match connection.ended {
            failed if self.has_faults(connection) => {
                self.reasons_of_faults(connection).into_iter().chain(failed).collect()
            }
            Some(reason) => vec![reason],
            // The close itself tells the peer that everything was sent.
            None if connection.is_finished() && !self.owes_greeting(connection) => vec![CloseReason::PeerFinished],
            None => {
                let due = [
                    (self.is_idle(connection), CloseReason::IdleTimeout),
                    (self.is_header_late(connection), CloseReason::HeaderTimeout),
                    (late, CloseReason::DrainTimeout),
                ];
                due.into_iter().filter_map(|(is_due, reason)| is_due.then_some(reason)).collect()
            }
        };
        let (owed, waiting, end) = (connection.owed(), connection.unreceived(), connection.end_received);
        if reasons.is_empty() {
            return self.broken(Promise::Close, || {
                format!("connection {index} is closed: {owed} owed, {waiting} unread, end received: {end}")
            });
        }
        let in_full = match reasons[..] {
            _ if self.has_faults(connection) => true,
            [CloseReason::PeerFinished] => connection.is_finished(),
            [CloseReason::Drained] => waiting == 0 && connection.shut,
            _ => true,
        };
        if !in_full {
            let (sent, received, written) = (connection.sent, connection.received, connection.written);
            self.broken(Promise::Bytes, || {
                format!("connection {index} ends well with {sent} sent of {received} received of {written} written")
            });
        }
        let not_idle = self.why_not_idle(index);
        let header_not_late = self.why_header_not_late(&self.connections[index]);
        self.closing = Some(Closing { index, reasons, not_idle, header_not_late, counted: self.counted_closes() });
    }

    /// Finds out for which of its possible reasons the last connection was closed, now that the loop has counted it.
    pub(crate) fn settle_close(&mut self) {
        let Some(closing) = self.closing.take() else { return };
        let Closing { index, reasons, not_idle, header_not_late, counted } = closing;
        let now = self.counted_closes();
        let counted = reasons.iter().copied().find(|reason| now[*reason as usize] > counted[*reason as usize]);
        // Without a count, the check of the counters fails at the end of the turn.
        let reason = counted.unwrap_or(reasons[0]);
        if self.connections[index].is_reset != (reason == CloseReason::ResetFault) {
            self.broken(Promise::Close, || {
                format!("connection {index} is closed in the wrong way for its reason, {reason}")
            });
        }
        if reason == CloseReason::IdleTimeout {
            self.count_deadline_close();
            if let Some(what) = not_idle.filter(|_| self.connections[index].faults.is_empty()) {
                self.broken(Promise::Idle, || format!("connection {index} is closed as idle, but {what}"));
            }
        }
        if reason == CloseReason::HeaderTimeout {
            self.count_deadline_close();
            if let Some(what) = header_not_late {
                self.broken(Promise::Header, || format!("connection {index} is closed for a late header, but {what}"));
            }
        }
        self.tally.closed[reason as usize] += 1;
        self.coverage.count(match reason {
            CloseReason::PeerFinished => Point::ClosedPeerFinished,
            CloseReason::Reset => Point::ClosedReset,
            CloseReason::IdleTimeout => Point::ClosedIdleTimeout,
            CloseReason::Drained => Point::ClosedDrained,
            CloseReason::DrainTimeout => Point::ClosedDrainTimeout,
            CloseReason::HeaderRefused => Point::ClosedHeaderRefused,
            CloseReason::HeaderTimeout => Point::ClosedHeaderTimeout,
            CloseReason::ResetFault => Point::ResetByFault,
            CloseReason::LimitDataFault
            | CloseReason::TimeoutFault
            | CloseReason::LifetimeFault
            | CloseReason::HalfCloseFault => Point::ClosedByFault,
            _ => Point::ClosedFailed,
        });
    }

    fn counted_closes(&self) -> [u64; CloseReason::ALL.len()] {
        std::array::from_fn(|reason| self.shared.counters.closed[reason].get())
    }

    /// Why the loop may not close a connection as idle now, if it may not. It has to have tried both directions, because
    /// events may be late and some systems report room late.
    fn why_not_idle(&self, index: usize) -> Option<&'static str> {
        let connection = &self.connections[index];
        let turn = self.tally.turns;
        if connection.owed() > 0 && connection.tried_in != turn {
            Some("no send was tried")
        } else if connection.memory_short.is_some() {
            Some("there was no memory to look for input")
        } else if !self.is_full(connection)
            && !connection.end_received
            && (connection.hinted || connection.looked_in != turn)
        {
            Some("its input was not looked at")
        } else {
            None
        }
    }
}
