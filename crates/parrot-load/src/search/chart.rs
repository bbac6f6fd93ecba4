//! A search as a chart: latency over rate.

use anyhow::Result;
use plotters::style::RGBColor;

use super::{Found, Step};
use crate::charts::{self, Axis, Chart, Line};
use crate::latency::Latency;
use crate::units::{round_time, thousands};

/// A percentile's name, colour and value.
pub(crate) type Percentile = (&'static str, RGBColor, fn(&Latency) -> Option<f64>);

pub(crate) const PERCENTILES: [Percentile; 4] = [
    ("P50", RGBColor(0x16, 0xa3, 0x4a), |latency| latency.p50),
    ("P90", RGBColor(0x0c, 0x9c, 0xc0), |latency| latency.p90),
    ("P99", RGBColor(0xe0, 0x9b, 0x1a), |latency| latency.p99),
    ("P99.9", RGBColor(0xdc, 0x3b, 0x3b), |latency| latency.p999),
];

/// The latencies of all steps over their rates. A rate that was measured several times has the last of them.
///
/// # Errors
///
/// None that is expected, because the chart is drawn to memory.
pub(crate) fn chart(found: &Found) -> Result<Chart> {
    let mut steps: Vec<&Step> = found.steps.iter().rev().collect();
    steps.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    steps.dedup_by(|later, kept| later.rate == kept.rate);
    let line = |(name, colour, value): Percentile| Line {
        name: name.into(),
        colour,
        points: steps.iter().filter_map(|step| Some((step.rate, value(&step.latency)?))).collect(),
    };
    let lines = PERCENTILES.map(line);
    let latencies = lines.iter().flat_map(|line| line.points.iter().map(|(_, latency)| *latency));
    let y = Axis::logarithmic("latency", latencies, round_time);
    let x = Axis::logarithmic("messages per second", steps.iter().map(|step| step.rate), thousands);
    charts::lines("search".into(), "Latency by rate", &x, &y, &lines)
}
