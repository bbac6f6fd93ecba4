//! What has to hold at a rate.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::latency::{Latencies, Latency};
use crate::report::{Mark, Report};

/// Messages beyond a percentile, or failed ones, that a measurement should be long enough for. With fewer of them the
/// percentile is a matter of chance.
const BEYOND: f64 = 20.0;
/// The share of a latency that the load generator's own delay has to be for it to be the cause.
const OWN: f64 = 0.5;

/// What has to hold at a rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Objective {
    /// This percentile of the latencies, timed from when messages were due, is at most this long.
    Percentile {
        /// From 0 to 100, without the ends.
        percentile: f64,
        /// The longest that it may be.
        at_most: Duration,
    },
    /// At most this share of the messages, from 0 to 1, fails, is lost or is never sent.
    Errors(f64),
}

impl Objective {
    /// Whether it holds in a report. Without latencies none does.
    pub(super) fn holds(&self, report: &Report) -> bool {
        match *self {
            Objective::Percentile { percentile, at_most } => report
                .histograms
                .latency
                .percentile(percentile)
                .is_some_and(|latency| latency <= at_most.as_secs_f64() * 1e6),
            Objective::Errors(at_most) => errors(report) <= at_most && report.latency.count > 0,
        }
    }

    /// Whether the load generator is why it does not hold in a report.
    pub(super) fn is_missed_by_client(&self, report: &Report) -> bool {
        match *self {
            Objective::Percentile { percentile, .. } => {
                let at = |latencies: &Latencies| latencies.percentile(percentile);
                let own = report.histograms.lateness.as_ref().and_then(at);
                own.zip(at(&report.histograms.latency)).is_some_and(|(own, all)| own > all * OWN)
            }
            // It was too slow for its timetable, or had no room for answers.
            Objective::Errors(_) => {
                report.failures.total() == 0 && (report.unsent > 0 || report.marks.contains(&Mark::ClientBound))
            }
        }
    }

    /// Messages that a measurement needs.
    pub(super) fn messages_needed(&self) -> f64 {
        match *self {
            Objective::Percentile { percentile, .. } => BEYOND / (1.0 - percentile / 100.0),
            Objective::Errors(at_most) if at_most > 0.0 => BEYOND / at_most,
            Objective::Errors(_) => 0.0,
        }
    }
}

/// The share of a run's messages that failed, were lost or were never sent.
pub(super) fn errors(report: &Report) -> f64 {
    let lost = report.datagrams.map_or(0, |datagrams| datagrams.lost);
    let errors = (report.failures.total() + report.unsent + lost) as f64;
    let Latency { count, .. } = report.latency;
    if errors > 0.0 { (errors / (count as f64 + errors)).min(1.0) } else { 0.0 }
}

/// As on the command line: `p99=10ms` or `errors=0.1%`.
impl fmt::Display for Objective {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Objective::Percentile { percentile, at_most } => write!(formatter, "p{percentile}={at_most:?}"),
            Objective::Errors(share) => write!(formatter, "errors={}%", share * 100.0),
        }
    }
}

impl Serialize for Objective {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::SystemTime;

    use super::*;
    use crate::failure::Failure;
    use crate::plan::{Pace, Plan};
    use crate::tally::Tally;
    use crate::targets::Targets;

    /// The report of 100 messages that took from 1 to 100 ms, of which the load generator's own delay was this share.
    fn report(own: f64, change: impl FnOnce(&mut Tally)) -> Report {
        let plan = Plan { pace: Pace::Rate(100.0), ..Plan::new(SocketAddr::from(([127, 0, 0, 1], 1512))) };
        let mut tally = Tally { closed: Some(1_000_000_000), open: plan.kept(), ..Tally::default() };
        for milliseconds in 1..=100 {
            tally.latencies.record(milliseconds * 1_000_000);
            tally.lateness.record((milliseconds as f64 * own * 1e6) as u64);
        }
        change(&mut tally);
        let targets = Targets::new(&plan.targets);
        Report::new(&plan, [tally], (plan.kept(), Duration::ZERO), (SystemTime::UNIX_EPOCH, &targets))
    }

    #[test]
    fn a_percentile_holds_up_to_its_bound() {
        let report = report(0.0, |_| {});
        let p90 =
            |milliseconds| Objective::Percentile { percentile: 90.0, at_most: Duration::from_millis(milliseconds) };
        assert_eq!([89, 91].map(|bound| p90(bound).holds(&report)), [false, true]);
    }

    #[test]
    fn errors_are_failed_and_unsent_messages() {
        let report = report(0.0, |tally| {
            tally.failures.count(Failure::Reset);
            tally.unsent = 24;
        });
        assert_eq!(errors(&report), 0.2);
        assert_eq!([0.19, 0.2].map(|bound| Objective::Errors(bound).holds(&report)), [false, true]);
        assert!(!Objective::Errors(0.0).is_missed_by_client(&report), "the server has reset a connection");
    }

    #[test]
    fn nothing_holds_where_nothing_was_measured() {
        let report = report(0.0, |tally| tally.latencies.clear());
        let p50 = Objective::Percentile { percentile: 50.0, at_most: Duration::MAX };
        assert!(!p50.holds(&report) && !Objective::Errors(0.5).holds(&report));
    }

    #[test]
    fn the_client_is_to_blame_for_what_it_did_late_or_not_at_all() {
        let p99 = Objective::Percentile { percentile: 99.0, at_most: Duration::ZERO };
        assert_eq!([0.4, 0.6].map(|own| p99.is_missed_by_client(&report(own, |_| {}))), [false, true]);
        let unsent = report(0.0, |tally| tally.unsent = 1);
        assert!(Objective::Errors(0.0).is_missed_by_client(&unsent) && !p99.is_missed_by_client(&unsent));
    }
}
