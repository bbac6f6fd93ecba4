//! What is printed on standard output while a run goes on: JSON, one object a line, or CSV, one interval a line.

use std::io::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

use crate::latency::Latency;
use crate::report::SCHEMA;
use crate::{Load, Part, Report, Sample, Watch};

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
    messages: u64,
    messages_per_second: f64,
    latency: Latency,
    /// Failures since the run began.
    failures: u64,
    /// Datagrams lost since the window opened.
    lost: u64,
}

/// The first line of CSV. Latencies are in microseconds, as in JSON.
const HEADINGS: &str = "elapsed,stage,messages,messages_per_second,mean,p50,p90,p99,p999,max,failures,lost";

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
        match self.form {
            Form::JsonLines => self.event(&Event::End(report)),
            Form::Csv => self.row(&Interval {
                elapsed: report.window,
                stage: "total",
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
        let Interval { elapsed, stage, messages, messages_per_second, latency, failures, lost } = interval;
        let Latency { mean, p50, p90, p99, p999, max, .. } = *latency;
        let times = [mean, p50, p90, p99, p999, max];
        let times = times.map(|time| time.map_or(String::new(), |time| format!("{time:.3}"))).join(",");
        self.line(&format!("{elapsed:.3},{stage},{messages},{messages_per_second:.1},{times},{failures},{lost}"));
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

    fn interval(&mut self, sample: &Sample) {
        let interval = Interval {
            elapsed: sample.elapsed.as_secs_f64(),
            stage: match sample.part {
                Part::Warmup => "warm-up",
                Part::Window => "window",
                Part::Drain => "drain",
            },
            messages: sample.latency.count,
            messages_per_second: sample.messages_per_second,
            latency: sample.latency,
            failures: sample.failures,
            lost: sample.lost,
        };
        match self.form {
            Form::JsonLines => self.event(&Event::Interval(interval)),
            Form::Csv => self.row(&interval),
        }
    }
}
