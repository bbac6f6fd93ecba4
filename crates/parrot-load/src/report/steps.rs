//! What was measured at each rate of an open loop that changes in steps.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::marks::LATE_SHARE;
use crate::latency::{Latencies, Latency};
use crate::steps::Steps;
use crate::tally;
use crate::units::{microseconds, per_second};

/// What was measured while one rate of [`Pace::Steps`](crate::Pace::Steps) was held.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RateStep {
    /// Messages a second that were asked for. If reports were added up, each of them asked for that.
    pub rate: f64,
    /// How long it was held, in seconds. It is 0 if the run was stopped before.
    pub held: f64,
    /// Answers that arrived in this time.
    pub messages: u64,
    /// Answers a second.
    pub messages_per_second: f64,
    /// Of the messages that were due in this time, whenever their answers arrived, from when they were due.
    pub latency: Latency,
    /// How many of them the load generator sent more than a millisecond late.
    pub late: u64,
    /// The latencies behind these figures.
    pub histogram: Latencies,
}

impl RateStep {
    /// The figures of all steps, of which the window took in `window` seconds.
    pub(super) fn all(steps: Steps, window: f64, tallies: Vec<tally::Step>) -> Vec<RateStep> {
        let numbered = (0..steps.count).zip(tallies);
        numbered
            .map(|(number, tally)| {
                let held = (window - f64::from(number) * steps.each()).clamp(0.0, steps.each());
                RateStep {
                    rate: steps.rate(number),
                    held,
                    messages: tally.answered,
                    messages_per_second: if held > 0.0 { tally.answered as f64 / held } else { 0.0 },
                    latency: tally.latencies.summary(),
                    late: tally.late,
                    histogram: tally.latencies,
                }
            })
            .collect()
    }

    /// Adds the same step of another host.
    pub(super) fn add(&mut self, other: &RateStep) {
        self.held = self.held.max(other.held);
        self.messages = self.messages.saturating_add(other.messages);
        self.messages_per_second = if self.held > 0.0 { self.messages as f64 / self.held } else { 0.0 };
        self.histogram.add(&other.histogram);
        self.latency =
            Latency { clipped: self.latency.clipped.saturating_add(other.latency.clipped), ..self.histogram.summary() };
        self.late = self.late.saturating_add(other.late);
    }

    /// Whether the load generator was the limit, because it sent too many messages late.
    fn is_client_bound(&self) -> bool {
        self.late as f64 > self.latency.count as f64 * LATE_SHARE
    }

    /// The headings above steps as text.
    pub(super) const HEADINGS: &str = "        rate   answered      P50      P90      P99    P99.9      max";

    /// The step as a row below [`HEADINGS`](RateStep::HEADINGS), of a sum of so many reports.
    pub(super) fn row(&self, reports: u64) -> impl fmt::Display {
        let Latency { p50, p90, p99, p999, max, .. } = self.latency;
        let times = [p50, p90, p99, p999, max].map(|time| format!("{:>9}", time.map_or("-".into(), microseconds)));
        let verdict = if self.is_client_bound() { "  client" } else { "" };
        let [rate, answered] = [self.rate * reports as f64, self.messages_per_second].map(per_second);
        format!("{rate:>12} {answered:>10}{}{verdict}", times.concat())
    }
}
