//! What is printed on standard output while a run goes on: JSON, one object a line, or CSV, one interval a line.

use std::io::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

use crate::latency::Latency;
use crate::report::SCHEMA;
use crate::{Load, Part, RateStep, Report, Sample, Watch};

/// How the lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    JsonLines,
    Csv,
}

/// A run as lines.
#[derive(Debug)]
pub(super) struct Stream {
    form: Form,
    /// The first error of standard output.
    refused: Option<io::Error>,
}

/// An object of the stream. iperf3's `--json-stream` has the same two fields.
#[derive(Debug, Serialize)]
#[serde(tag = "event", content = "data", rename_all = "lowercase")]
enum Event<'a> {
    Start(Start<'a>),
    Interval(Interval),
    Step(&'a RateStep),
    End(&'a Report),
    Error(&'a str),
}

#[derive(Debug, Serialize)]
struct Start<'a> {
    schema: &'static str,
    version: &'static str,
    load: &'a Load,
    /// Connections that are open, and the seconds that connecting took.
    opened: usize,
    elapsed: f64,
}

#[derive(Debug, Serialize)]
struct Interval {
    /// Seconds since the first message was sent.
    elapsed: f64,
    stage: &'static str,
    /// Messages a second that were asked for, in an open loop.
    rate: Option<f64>,
    messages: u64,
    messages_per_second: f64,
    latency: Latency,
    /// Failures since the run began.
    failures: u64,
    /// Datagrams lost since the window opened.
    lost: u64,
}

/// The first line of CSV. Latencies are in microseconds, as in JSON.
const HEADINGS: &str = "elapsed,stage,messages,messages_per_second,mean,p50,p90,p99,p999,max,failures,lost,rate";

impl Stream {
    pub(super) fn new(form: Form) -> Stream {
        Stream { form, refused: None }
    }

    /// Writes the last line. A reader that has left is no error.
    ///
    /// # Errors
    ///
    /// If the system refused this line or an earlier one.
    pub(super) fn end(mut self, report: &Report) -> io::Result<()> {
        let mut elapsed = 0.0;
        for step in &report.steps {
            elapsed += step.held;
            match self.form {
                Form::JsonLines => self.event(&Event::Step(step)),
                Form::Csv => self.row(&Interval {
                    elapsed,
                    stage: "step",
                    rate: Some(step.rate),
                    messages: step.messages,
                    messages_per_second: step.messages_per_second,
                    latency: step.latency,
                    failures: 0,
                    lost: 0,
                }),
            }
        }
        match self.form {
            Form::JsonLines => self.event(&Event::End(report)),
            Form::Csv => self.row(&Interval {
                elapsed: report.window,
                stage: "total",
                rate: report.load.asked(report.window),
                messages: report.messages,
                messages_per_second: report.messages_per_second,
                latency: report.latency,
                failures: report.failures.total(),
                lost: report.datagrams.map_or(0, |datagrams| datagrams.lost),
            }),
        }
        self.refused.filter(|error| error.kind() != io::ErrorKind::BrokenPipe).map_or(Ok(()), Err)
    }

    /// Writes that the run did not take place.
    pub(super) fn fail(mut self, error: &str) {
        if self.form == Form::JsonLines {
            self.event(&Event::Error(error));
        }
    }

    fn event(&mut self, event: &Event<'_>) {
        match serde_json::to_string(event) {
            Ok(line) => self.line(&line),
            Err(error) => self.refused = self.refused.take().or(Some(error.into())),
        }
    }

    fn row(&mut self, interval: &Interval) {
        let Interval { elapsed, stage, rate, messages, messages_per_second, latency, failures, lost } = interval;
        let rate = rate.map_or(String::new(), |rate| format!("{rate:.1}"));
        let Latency { mean, p50, p90, p99, p999, max, .. } = *latency;
        let times = [mean, p50, p90, p99, p999, max];
        let times = times.map(|time| time.map_or(String::new(), |time| format!("{time:.3}"))).join(",");
        // Failures and losses are not counted for each step.
        let counts = if *stage == "step" { ",".to_owned() } else { format!("{failures},{lost}") };
        self.line(&format!("{elapsed:.3},{stage},{messages},{messages_per_second:.1},{times},{counts},{rate}"));
    }

    /// Writes a line at once, so that its reader is never behind.
    fn line(&mut self, line: &str) {
        let mut output = io::stdout().lock();
        let written = writeln!(output, "{line}").and_then(|()| output.flush());
        self.refused = self.refused.take().or(written.err());
    }
}

impl Watch for Stream {
    fn connected(&mut self, load: &Load, opened: usize, took: Duration) {
        match self.form {
            Form::JsonLines => self.event(&Event::Start(Start {
                schema: SCHEMA,
                version: env!("CARGO_PKG_VERSION"),
                load,
                opened,
                elapsed: took.as_secs_f64(),
            })),
            Form::Csv => self.line(HEADINGS),
        }
    }

    fn interval(&mut self, sample: &Sample<'_>) {
        let interval = Interval {
            elapsed: sample.elapsed.as_secs_f64(),
            stage: match sample.part {
                Part::Warmup => "warm-up",
                Part::Window => "window",
                Part::Drain => "drain",
            },
            rate: sample.asked,
            messages: sample.latency.count,
            messages_per_second: sample.messages_per_second,
            latency: sample.latency,
            failures: sample.failures.total(),
            lost: sample.lost,
        };
        match self.form {
            Form::JsonLines => self.event(&Event::Interval(interval)),
            Form::Csv => self.row(&interval),
        }
    }
}
