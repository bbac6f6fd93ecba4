//! What makes a report's figures doubtful.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Report;
use crate::plan::{Length, Pace, Plan};

/// Share of the window from which on a thread that used, or waited for, a core counts as having had no time left.
const BUSY: f64 = 0.95;
/// By how much throughput times mean latency may differ from the concurrency before it is called a contradiction.
const TOLERANCE: f64 = 0.1;
/// Share of the asked rate below which an open loop did not keep it.
const KEPT: f64 = 0.99;
/// Lateness of this program, in microseconds, from which on an open loop is its own limit.
const LATE: f64 = 1000.0;

/// What a reader of the figures has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// The load generator was the limit: it had no time left, was kept from running, or (open loop) came late to
    /// messages that were due. The server may be capable of more.
    ClientBound,
    /// Throughput and mean latency belong to another concurrency than was asked for: connections waited in vain.
    Contradiction,
    /// The rate asked for was not reached.
    RateNotReached,
    /// Some connections were gone before the window closed.
    ConnectionsLost,
    /// The run was stopped before the window was over.
    StoppedEarly,
}

impl fmt::Display for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Mark::ClientBound => "client-bound: the load generator was the limit; the server may be capable of more",
            Mark::Contradiction => {
                "contradiction: throughput times mean latency is not the concurrency; some connections waited in vain"
            }
            Mark::RateNotReached => "rate not reached: fewer messages a second were answered than asked for",
            Mark::ConnectionsLost => "connections lost: fewer connections were open at the end than asked for",
            Mark::StoppedEarly => "stopped early: the window is shorter than asked for",
        })
    }
}

impl Report {
    /// The marks that the figures earn.
    pub(super) fn doubts(&self, plan: &Plan) -> Vec<Mark> {
        let mut marks = Vec::new();
        let asked = match plan.length {
            Length::Messages(total) => total.min((plan.connections * plan.pipeline) as u64) as f64,
            Length::Time(_) => (plan.connections * plan.pipeline) as f64,
        };
        let lost = plan.kept().saturating_sub(self.connecting.open);
        match plan.pace {
            Pace::Closed => {
                if busy(self.client.busiest, self.client.waited) >= BUSY {
                    marks.push(Mark::ClientBound);
                }
                // Threads that share out a number of messages do not end at the same time.
                let whole = matches!(plan.length, Length::Time(_)) || plan.threads == 1;
                let (least, tolerance) = (self.least(plan, lost).min(asked), TOLERANCE + self.ends());
                let differs = self.concurrency + self.between < least * (1.0 - tolerance)
                    || self.concurrency > asked * (1.0 + tolerance);
                if (self.messages == 0 && least > 0.0) || (whole && differs) {
                    marks.push(Mark::Contradiction);
                }
            }
            Pace::Rate(rate) => {
                if self.lateness.is_some_and(|lateness| lateness.p99 > LATE) {
                    marks.push(Mark::ClientBound);
                }
                if self.messages_per_second < rate * KEPT {
                    marks.push(Mark::RateNotReached);
                }
                if self.concurrency > asked * (1.0 + TOLERANCE + self.ends()) {
                    marks.push(Mark::Contradiction);
                }
            }
        }
        if lost > 0 {
            marks.push(Mark::ConnectionsLost);
        }
        if self.stopped {
            marks.push(Mark::StoppedEarly);
        }
        marks
    }

    /// Messages that must have been under way in a closed loop, whatever became of connections that failed: a failure
    /// is told as one, and explains what is missing since.
    fn least(&self, plan: &Plan, lost: usize) -> f64 {
        let remaining = match plan.reconnect {
            // Nobody waited for what was under way at the end: it may have come soon, or never.
            _ if self.stopped => 0,
            None => plan.connections.saturating_sub(lost),
            // A connection that failed is replaced, but not at once.
            Some(_) if self.failures.total() > 0 => 0,
            Some(_) => plan.connections,
        };
        (remaining * plan.pipeline) as f64
    }

    /// The share of the window that its two ends can falsify: of a message that crosses one of them only a part lies
    /// within, and without a warm-up the first ones are sent one after the other, as the last of a number come back. At
    /// either end that is no more than the longest answer took, or was under way. A message that was under way all the
    /// time is none of these: its connection did wait in vain.
    fn ends(&self) -> f64 {
        let longest = (self.service.unwrap_or(self.latency).max / 1e6).max(self.cut);
        if self.window > 0.0 { 2.0 * longest / self.window } else { f64::INFINITY }
    }

    /// A mark in words, with its cause where there are several.
    pub(super) fn note(&self, mark: Mark) -> String {
        let cause = match (mark, self.lateness, self.client.busiest) {
            (Mark::ClientBound, Some(_), _) => {
                "the load generator came late to messages that were due; the latencies are its own as well as the server's"
            }
            (Mark::ClientBound, None, Some(busiest)) if busiest >= BUSY => {
                "the load generator had no time left; the server may be capable of more"
            }
            (Mark::ClientBound, None, _) => {
                "other programs kept the load generator from running; the server may be capable of more"
            }
            _ => return mark.to_string(),
        };
        format!("client-bound: {cause}")
    }
}

/// Share of the window in which a thread used a core or waited for one.
pub(super) fn busy(used: Option<f64>, waited: Option<f64>) -> f64 {
    used.unwrap_or(0.0) + waited.unwrap_or(0.0)
}
