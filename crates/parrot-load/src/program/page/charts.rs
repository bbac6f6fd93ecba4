//! The charts of a run.

use anyhow::Result;
use plotters::style::RGBColor;

use super::super::history::{History, Point};
use super::section;
use crate::charts::{Axis, Line, legend, lines, wide};
use crate::search::chart::PERCENTILES;
use crate::units::{round_time, thousands};
use crate::{Latencies, Report};

const THROUGHPUT: RGBColor = RGBColor(0x16, 0xa3, 0x4a);
const FAILURES: RGBColor = RGBColor(0xdc, 0x3b, 0x3b);
const LONGEST: RGBColor = RGBColor(0x86, 0x4f, 0xe8);

/// Throughput, percentiles and errors over time. Nothing if the run was too short for that.
pub(super) fn over_time(report: &Report, history: &History) -> Result<String> {
    let points = history.points();
    let Some(last) = points.last().filter(|_| points.len() > 1) else { return Ok(String::new()) };
    let x = Axis::from_zero("seconds since the first message", last.to().as_secs_f64(), |seconds| format!("{seconds}"));
    let at = |point: &Point| point.from.as_secs_f64() + point.length.as_secs_f64() / 2.0;
    let line = |name: &str, colour, value: &dyn Fn(&Point) -> Option<f64>| Line {
        name: name.into(),
        colour,
        points: points.iter().filter_map(|point| Some((at(point), value(point)?))).collect(),
    };
    let greatest = |line: &Line| line.points.iter().map(|(_, height)| *height).fold(0.0, f64::max);

    let throughput = line("throughput", THROUGHPUT, &|point| Some(point.messages_per_second()));
    let y = Axis::from_zero("messages per second", greatest(&throughput), thousands);
    let chart = lines("throughput".into(), "Throughput over time", &x, &y, &[throughput])?;
    let (opened, closed) = (report.load.warmup, report.load.warmup + report.window);
    let text = format!("Answers a second. What is measured is the window from {opened:.1} s to {closed:.1} s.");
    let mut sections = section("Throughput over time", &text, &wide(&chart));

    let mut percentiles: Vec<Line> =
        PERCENTILES.map(|(name, colour, value)| line(name, colour, &|point| value(&point.latency))).into();
    percentiles.push(line("longest", LONGEST, &|point| point.latency.max));
    let heights = percentiles.iter().flat_map(|line| &line.points).map(|(_, height)| *height);
    if report.latency.count > 0 {
        let y = Axis::logarithmic("latency", heights, round_time);
        let names = legend(percentiles.iter().map(|line| (line.name.as_str(), line.colour)));
        let chart = lines("latency".into(), "Latency over time", &x, &y, &percentiles)?;
        sections.push_str(&section(
            "Latency over time",
            "The percentiles of each part of the run by itself. The axis is logarithmic.",
            &(names + &wide(&chart)),
        ));
    }

    let errors = line("failures", FAILURES, &|point| Some(point.errors as f64));
    if greatest(&errors) > 0.0 {
        let y = Axis::from_zero("failures so far", greatest(&errors), thousands);
        let chart = lines("failures".into(), "Failures over time", &x, &y, &[errors])?;
        sections.push_str(&section("Failures over time", "With datagrams that were lost.", &wide(&chart)));
    }
    Ok(sections)
}

/// The distribution of the latencies. Nothing if there are none.
pub(super) fn by_percentile(report: &Report) -> Result<String> {
    let histograms = &report.histograms;
    let line = |name: &str, colour, latencies: Option<&Latencies>| {
        let points = latencies.map(Latencies::curve).filter(|points| !points.is_empty())?;
        Some(Line { name: name.into(), colour, points })
    };
    let all = [
        line("latency", THROUGHPUT, Some(&histograms.latency)),
        line("from the real send", RGBColor(0x0c, 0x9c, 0xc0), histograms.service.as_ref()),
        line("the client's own delay", RGBColor(0xe0, 0x9b, 0x1a), histograms.lateness.as_ref()),
    ];
    let all: Vec<Line> = all.into_iter().flatten().collect();
    if report.latency.count == 0 {
        return Ok(String::new());
    }
    let heights = all.iter().flat_map(|line| &line.points).map(|(_, height)| *height);
    let y = Axis::logarithmic("latency", heights, round_time);
    let chart = lines("percentiles".into(), "Latency by percentile", &Axis::percentiles(), &y, &all)?;
    let names = legend(all.iter().map(|line| (line.name.as_str(), line.colour)));
    let from = match report.lateness {
        Some(_) => {
            "From when a message was due until its last byte was back, so a stall delays every message behind it."
        }
        None => {
            "From the send until the last byte was back. In a closed loop a server that stalls receives fewer messages, \
             so its latencies look better than they are."
        }
    };
    Ok(section("Latency by percentile", &format!("{from} Less is better."), &(names + &wide(&chart))))
}
