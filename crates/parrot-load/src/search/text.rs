//! A search as text: a row for each step, and what was found.

use std::fmt;

use super::bracket::TIMES;
use super::{Found, Limit, Step};
use crate::latency::Latency;
use crate::report::Load;
use crate::units::{microseconds, per_second, thousands};

impl Step {
    /// The headings above steps as text.
    pub const HEADINGS: &str = "      rate   answered      P50      P90      P99    P99.9    errors";
}

/// A row below [`HEADINGS`](Step::HEADINGS).
impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:>10} {:>10}", per_second(self.rate), per_second(self.messages_per_second))?;
        let Latency { p50, p90, p99, p999, .. } = self.latency;
        for time in [p50, p90, p99, p999] {
            write!(formatter, "{:>9}", time.map_or("-".into(), microseconds))?;
        }
        let verdict = match (self.held, self.client_bound) {
            (true, _) => "holds",
            (false, false) => "fails",
            (false, true) => "client",
        };
        write!(formatter, "{:>8.3} %  {verdict}", self.errors * 100.0)
    }
}

/// What was found, without the steps.
impl fmt::Display for Found {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let objectives: Vec<String> = self.objectives.iter().map(ToString::to_string).collect();
        let Load { connections, target, .. } = &self.load;
        let (connections, bytes) = (thousands(*connections as f64), self.load.bytes());
        let objectives = objectives.join(" and ");
        writeln!(formatter, "highest rate for {objectives}: {connections} connections x {bytes} bytes to {target}")?;
        let sure = if self.confirmed { format!("{TIMES} times") } else { "not confirmed".into() };
        for (what, rate) in [("held", self.rate), ("failed", self.failed)] {
            match rate {
                Some(rate) => writeln!(formatter, "  {what:<11} {} messages/s, {sure}", per_second(rate))?,
                None => writeln!(formatter, "  {what:<11} no rate")?,
            }
        }
        let limit = match self.limit {
            Limit::Server => "the server gave out first",
            Limit::Client => "the client gave out first, so the server may be capable of more (add --threads or hosts)",
            Limit::Nothing => "nothing gave out at the highest rate that a load may have",
            Limit::Unknown => "unknown, because the search was stopped early",
        };
        write!(formatter, "  limit       {limit}")
    }
}
