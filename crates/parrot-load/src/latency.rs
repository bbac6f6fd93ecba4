//! A histogram of latencies, and the figures that a report shows of it.

mod encoding;

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest latency that the histogram holds, in nanoseconds. Anything longer is recorded as this long and as clipped.
const LONGEST: u64 = 3_600_000_000_000;

/// Latencies in nanoseconds, to three significant digits.
///
/// With serde they are a string, the V2 format of HdrHistogram, compressed and in base64.
#[derive(Debug, Clone)]
pub struct Latencies {
    histogram: Histogram<u64>,
    clipped: u64,
}

impl Default for Latencies {
    #[expect(clippy::expect_used, reason = "the bounds are constants, and the library accepts them")]
    fn default() -> Latencies {
        let histogram = Histogram::new_with_bounds(1, LONGEST, 3).expect("bounds that HdrHistogram accepts");
        Latencies { histogram, clipped: 0 }
    }
}

impl Latencies {
    /// Records one latency. Allocates nothing and cannot fail.
    pub(crate) fn record(&mut self, nanoseconds: u64) {
        self.clipped += u64::from(nanoseconds > LONGEST);
        self.histogram.saturating_record(nanoseconds);
    }

    /// Adds another thread's latencies to these.
    pub(crate) fn add(&mut self, other: &Latencies) {
        // Both have the same bounds, so nothing can be out of range.
        let added = self.histogram.add(&other.histogram);
        debug_assert!(added.is_ok(), "histograms of the same bounds");
        self.clipped = self.clipped.saturating_add(other.clipped);
    }

    /// Every bucket in which something was recorded, as its value in nanoseconds and its count.
    #[cfg(feature = "program")]
    pub(crate) fn buckets(&self) -> Vec<(u64, u64)> {
        self.histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
    }

    /// Adds what [`buckets`](Latencies::buckets) has returned.
    #[cfg(feature = "program")]
    pub(crate) fn add_buckets(&mut self, buckets: &[(u64, u64)]) {
        for (value, count) in buckets {
            self.histogram.saturating_record_n(*value, *count);
        }
    }

    /// How many are in each part of a range that is divided evenly on a logarithmic scale. The range is in microseconds.
    #[cfg(feature = "program")]
    pub(crate) fn spread(&self, (from, to): (f64, f64), parts: usize) -> Vec<u64> {
        let mut spread = vec![0; parts];
        for (value, count) in self.buckets() {
            let place = ((value as f64 / 1e3).ln() - from.ln()) / (to.ln() - from.ln());
            let part = ((place * parts as f64).max(0.0) as usize).min(parts.saturating_sub(1));
            if let Some(part) = spread.get_mut(part) {
                *part += count;
            }
        }
        spread
    }

    /// The shortest and the longest, in microseconds. `None` if nothing was recorded.
    #[cfg(feature = "program")]
    pub(crate) fn ends(&self) -> Option<(f64, f64)> {
        (self.count() > 0).then(|| (self.histogram.min() as f64 / 1e3, self.histogram.max() as f64 / 1e3))
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.histogram.reset();
        self.clipped = 0;
    }

    /// How many were recorded.
    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// A percentile from 0 to 100, in microseconds. `None` if nothing was recorded.
    #[must_use]
    pub fn percentile(&self, percentile: f64) -> Option<f64> {
        (self.count() > 0).then(|| self.histogram.value_at_percentile(percentile) as f64 / 1e3)
    }

    /// The figures a report shows.
    #[must_use]
    pub fn summary(&self) -> Latency {
        let measured = |nanoseconds: f64| (self.count() > 0).then_some(nanoseconds / 1e3);
        let at = |quantile: f64| measured(self.histogram.value_at_quantile(quantile) as f64);
        Latency {
            count: self.count(),
            mean: measured(self.histogram.mean()),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: measured(self.histogram.max() as f64),
            clipped: self.clipped,
        }
    }

    /// `(percentile, microseconds)` pairs for a chart, ever denser towards 100 %. None if nothing was recorded.
    #[must_use]
    pub fn curve(&self) -> Vec<(f64, f64)> {
        if self.count() == 0 {
            return Vec::new();
        }
        const SHARES: [f64; 5] = [0.0, 0.25, 0.5, 0.65, 0.8]; // of the way from one nine to the next
        let nines = (0..5).map(|nines| 1.0 - 10f64.powi(-nines));
        nines
            .flat_map(|from| SHARES.map(|share| from + (1.0 - from) * 0.9 * share))
            .map(|quantile| (quantile * 100.0, self.histogram.value_at_quantile(quantile) as f64 / 1e3))
            .collect()
    }

    /// The percentile distribution as text (`.hgrm`), which HdrHistogram's plotters read. Values in microseconds.
    #[must_use]
    pub fn to_hgrm(&self) -> String {
        let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
        for step in self.histogram.iter_quantiles(5) {
            let (value, quantile) = (step.value_iterated_to() as f64 / 1e3, step.quantile_iterated_to());
            let count = self.histogram.count_between(0, step.value_iterated_to());
            // Writing to a String cannot fail.
            let _ = if quantile < 1.0 {
                writeln!(text, "{value:12.3} {quantile:2.12} {count:10} {:14.2}", 1.0 / (1.0 - quantile))
            } else {
                writeln!(text, "{value:12.3} {quantile:2.12} {count:10}            inf")
            };
        }
        let Latency { count, mean, max, .. } = self.summary();
        if let (Some(mean), Some(max)) = (mean, max) {
            let deviation = self.histogram.stdev() / 1e3;
            let _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
            let _ = write!(text, "#[Max     = {max:12.3}, ");
        } else {
            text.push_str("#[");
        }
        let _ = writeln!(text, "Total count    = {count:12}]");
        text
    }
}

/// A summary of latencies, in microseconds. Latencies that were never measured have no figures.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Latency {
    /// How many latencies these figures summarise.
    pub count: u64,
    /// The arithmetic mean.
    pub mean: Option<f64>,
    /// The median.
    pub p50: Option<f64>,
    /// Nine in ten were at most this long.
    pub p90: Option<f64>,
    /// 99 in a hundred were at most this long.
    pub p99: Option<f64>,
    /// 999 in a thousand were at most this long.
    pub p999: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
    /// How many were longer than the histogram holds (one hour).
    pub clipped: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_true_to_three_digits() {
        let mut latencies = Latencies::default();
        for microseconds in 1..=100_000 {
            latencies.record(microseconds * 1000);
        }
        let summary = latencies.summary();
        for (got, want) in [(summary.p50, 50_000.0), (summary.p99, 99_000.0), (summary.max, 100_000.0)] {
            assert!(got.is_some_and(|got| (got - want).abs() / want < 0.001), "{got:?} for {want}");
        }
        assert_eq!((summary.count, summary.clipped), (100_000, 0));
    }

    #[test]
    fn nothing_measured_has_no_figures() {
        let nothing = Latencies::default();
        let Latency { count, mean, p50, p90, p99, p999, max, .. } = nothing.summary();
        assert_eq!((count, [mean, p50, p90, p99, p999, max]), (0, [None; 6]));
        assert!(nothing.curve().is_empty());
        let text = nothing.to_hgrm();
        assert!(text.contains("Total count    =            0") && !text.contains("Mean"), "{text}");
    }

    #[test]
    fn a_latency_beyond_the_range_is_counted_as_clipped() {
        let mut latencies = Latencies::default();
        latencies.record(u64::MAX);
        assert_eq!((latencies.summary().count, latencies.summary().clipped), (1, 1));
    }

    #[test]
    fn counts_that_are_too_large_to_add_stay_at_the_largest() {
        let mut latencies = Latencies::default();
        latencies.histogram.saturating_record_n(1000, u64::MAX);
        latencies.histogram.saturating_record_n(2000, u64::MAX);
        latencies.add(&latencies.clone());
        let Latency { count, p50, max, .. } = latencies.summary();
        assert_eq!((count, p50, max.map(f64::round)), (u64::MAX, Some(1.0), Some(2.0)));
        assert!(latencies.to_hgrm().contains("18446744073709551615") && !latencies.curve().is_empty());
    }

    #[test]
    fn the_text_form_ends_with_the_whole_count() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|value| latencies.record(value * 1000));
        let text = latencies.to_hgrm();
        let last = text.lines().rev().find(|line| line.ends_with("inf")).unwrap_or_default();
        assert!(last.contains("1000"), "{text}");
        assert!(text.contains("Total count    =         1000"), "{text}");
    }
}
