//! Reasons to doubt the figures of a report.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Report;
use crate::course::LATE;
use crate::plan::{Arrivals, Length, Pace, Plan};

/// A thread that used, or waited for, a core in this share of the window had no time left.
pub(crate) const BUSY: f64 = 0.95;
/// Throughput times mean latency may differ from the concurrency by this share before it is a contradiction.
const TOLERANCE: f64 = 0.1;
/// An open loop that reached less than this share of its rate did not reach it.
const KEPT: f64 = 0.99;
/// An open loop that sent more than this share of its messages late was its own limit.
pub(crate) const LATE_SHARE: f64 = 0.01;

/// A reason to doubt the figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// No message of the window came back, so there are no figures.
    NothingMeasured,
    /// The load generator was the limit. It had no time left, was kept from running, sent messages late (open loop), or
    /// had no room for answers (UDP). The server may be capable of more.
    ClientBound,
    /// Throughput and mean latency do not fit the concurrency of the plan, so some connections waited in vain.
    Contradiction,
    /// The rate of the plan was not reached.
    RateNotReached,
    /// Some connections that were to stay open were gone when the window closed.
    ConnectionsLost,
    /// The run was stopped before the window ended.
    StoppedEarly,
    /// The windows of the reports that were added up were not open at the same time.
    WindowsApart,
}

impl fmt::Display for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Mark::NothingMeasured => {
                "nothing measured: no message of the window came back (if nothing failed, a longer window helps)"
            }
            Mark::ClientBound => "client-bound: the load generator was the limit, so the server may be capable of more",
            Mark::Contradiction => {
                "contradiction: throughput times mean latency is not the concurrency, so some connections \
                 waited in vain"
            }
            Mark::RateNotReached => "rate not reached: fewer messages a second were answered than asked for",
            Mark::ConnectionsLost => "connections lost: fewer connections were open at the end than asked for",
            Mark::StoppedEarly => "stopped early: the window is shorter than asked for",
            Mark::WindowsApart => {
                "windows apart: the reports were not measured at the same time, so the server had less load at once \
                 than all of them together (--start-at starts several hosts together)"
            }
        })
    }
}

impl Report {
    /// The marks that apply to the figures.
    pub(super) fn doubts(&self, plan: &Plan) -> Vec<Mark> {
        let mut marks = Vec::new();
        if self.latency.count == 0 {
            marks.push(Mark::NothingMeasured);
        }
        let asked = match plan.length {
            Length::Messages(total) => total.min((plan.connections * plan.pipeline) as u64) as f64,
            Length::Time(_) => (plan.connections * plan.pipeline) as f64,
        };
        let lost = plan.kept().saturating_sub(self.connecting.open);
        match plan.pace {
            Pace::Closed => {
                if busy(self.client.busiest, self.client.waited) >= BUSY || self.has_overflowed() {
                    marks.push(Mark::ClientBound);
                }
                // Threads that share a number of messages do not end at the same time.
                let whole = matches!(plan.length, Length::Time(_)) || plan.threads == 1;
                let (least, tolerance) = (self.least(plan, lost).min(asked), TOLERANCE + self.ends());
                let differs = |concurrency: f64| {
                    concurrency + self.between < least * (1.0 - tolerance) || concurrency > asked * (1.0 + tolerance)
                };
                if whole && self.concurrency.is_some_and(differs) {
                    marks.push(Mark::Contradiction);
                }
            }
            Pace::Rate(_) | Pace::Ramp(_) | Pace::Steps(_) => {
                if self.is_late() || self.has_overflowed() {
                    marks.push(Mark::ClientBound);
                }
                if self.load.asked(self.window).is_some_and(|rate| self.has_missed(rate, plan.arrivals)) {
                    marks.push(Mark::RateNotReached);
                }
                // Datagrams do not wait for others, so any number of them may be under way.
                if self.concurrency > Some(asked * (1.0 + TOLERANCE + self.ends())) && !plan.is_udp() {
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

    /// Open loop: whether fewer messages a second were answered than asked for.
    fn has_missed(&self, rate: f64, arrivals: Arrivals) -> bool {
        let by_chance = match arrivals {
            Arrivals::Even => 0.0,
            // The count of a Poisson process has its mean as its variance. Four deviations are one run in 30,000.
            Arrivals::Poisson => 4.0 * (rate / self.window).sqrt(),
        };
        self.messages_per_second < rate * KEPT - by_chance
    }

    /// Open loop: whether the load generator sent too many messages late.
    fn is_late(&self) -> bool {
        self.lateness.is_some_and(|lateness| lateness.p99 > Some(LATE as f64 / 1e3))
    }

    /// Whether answers were lost because the load generator had no room for them.
    fn has_overflowed(&self) -> bool {
        self.datagrams.is_some_and(|datagrams| datagrams.overflowed > Some(0))
    }

    /// The least number of messages under way in a closed loop. Connections that failed are left out, because their
    /// failure is reported as such.
    fn least(&self, plan: &Plan, lost: usize) -> f64 {
        let remaining = match plan.reconnect {
            // A stopped run did not wait for the last answers, so their latency is unknown.
            _ if self.stopped => 0,
            None => plan.connections.saturating_sub(lost) * plan.pipeline,
            // A connection that failed is replaced, but only after a while, and any other one at the connect rate.
            Some(_) if self.failures.total() > 0 || plan.connect_rate.is_some() => 0,
            // One that is about to be closed has only its last message under way.
            Some(_) => plan.connections,
        };
        remaining as f64
    }

    /// The share of the window that its two ends can distort. A message that crosses an end lies only partly within the
    /// window. Without a warm-up the first messages leave one after the other, and the last ones return in the same
    /// way. At either end this lasts no longer than the longest answer took or was under way. A message that was under
    /// way during the whole window does not count here, because its connection did wait in vain.
    fn ends(&self) -> f64 {
        let answered = self.service.unwrap_or(self.latency).max.map_or(self.cut, |max| self.cut.max(max / 1e6));
        let lost = if self.datagrams.is_some_and(|datagrams| datagrams.lost > 0) { self.load.timeout } else { 0.0 };
        let longest = answered.max(lost);
        if self.window > 0.0 { 2.0 * longest / self.window } else { f64::INFINITY }
    }

    /// A mark in words, with its cause if it can have several.
    pub(crate) fn note(&self, mark: Mark) -> String {
        let cause = match mark {
            Mark::ClientBound if self.has_overflowed() => {
                "the load generator had no room for answers, so some of the losses are its own"
            }
            Mark::ClientBound if self.lateness.is_some() => {
                "the load generator sent messages late, so the latencies are its own as well as the server's"
            }
            Mark::ClientBound if self.client.busiest >= Some(BUSY) => {
                "the load generator had no time left, so the server may be capable of more"
            }
            Mark::ClientBound => {
                "other programs kept the load generator from running, so the server may be capable of more"
            }
            _ => return mark.to_string(),
        };
        format!("client-bound: {cause}")
    }
}

/// Share of the window in which a thread used a core or waited for one.
pub(crate) fn busy(used: Option<f64>, waited: Option<f64>) -> f64 {
    used.unwrap_or(0.0) + waited.unwrap_or(0.0)
}
