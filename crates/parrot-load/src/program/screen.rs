//! Progress of a run: a bar on a terminal, plain lines elsewhere or with `--interval`.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, SystemTime};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::arguments::Arguments;
use crate::units::{microseconds, thousands};
use crate::{Length, Load, Part, Plan, Sample, Watch};

/// How often the bar is redrawn.
pub(super) const REFRESH: Duration = Duration::from_millis(200);
/// How often a line is printed where there is no terminal.
pub(super) const LINE: Duration = Duration::from_secs(1);

/// Where a run shows its progress.
pub(crate) struct Screen {
    bar: Option<ProgressBar>,
    lines: bool,
    start_at: Option<SystemTime>,
    warmup: Duration,
    length: Length,
    /// Whether the load consists of datagrams, which may be lost.
    udp: bool,
    /// Answers within the window so far.
    answered: u64,
}

impl Screen {
    /// Chooses what to show.
    pub(crate) fn new(plan: &Plan, arguments: &Arguments) -> Screen {
        let terminal = io::stderr().is_terminal();
        let lines = plan.interval.is_some() || !(terminal || arguments.quiet || arguments.json);
        let bar = (terminal && !lines && !arguments.quiet).then(|| {
            let style = ProgressStyle::with_template("{prefix:10} [{bar:16}] {wide_msg}")
                .map(|style| style.progress_chars("=> "));
            let bar = ProgressBar::new(1000)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_prefix("connecting");
            bar.tick(); // connecting may take a while, and nothing else draws the bar until it has ended
            bar
        });
        let Plan { start_at, warmup, length, .. } = *plan;
        Screen { bar, lines, start_at, warmup, length, udp: plan.is_udp(), answered: 0 }
    }

    /// How often the run is to report.
    pub(crate) fn interval(&self, plan: &Plan) -> Option<Duration> {
        plan.interval.or(self.bar.as_ref().map(|_| REFRESH)).or(self.lines.then_some(LINE))
    }

    /// Leaves the terminal to the report.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, line: fmt::Arguments<'_>) {
        if self.lines {
            // A closed standard error costs nothing, because the report has all of it.
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    /// The share of the run that has passed, from 0 to 1.
    fn share(&self, sample: &Sample<'_>) -> f64 {
        match self.length {
            Length::Messages(wanted) => self.answered as f64 / wanted as f64,
            Length::Time(window) => sample.elapsed.as_secs_f64() / self.warmup.saturating_add(window).as_secs_f64(),
        }
    }
}

impl Watch for Screen {
    fn connected(&mut self, _load: &Load, open: usize, took: Duration) {
        // If none opened, the error that follows says why.
        if open > 0 {
            let what = if self.udp { "sockets" } else { "connections" };
            self.line(format_args!("{} {what} open after {:.3} s", thousands(open as f64), took.as_secs_f64()));
        }
        if let Some(time) = self.start_at.filter(|time| *time > SystemTime::now())
            && let Ok(time) = Timestamp::try_from(time)
        {
            self.line(format_args!("waiting until {time}"));
            if let Some(bar) = &self.bar {
                bar.set_prefix("waiting");
                bar.set_message(format!("until {time}"));
            }
        }
    }

    fn window_opens(&mut self) {
        self.line(format_args!("the window opens"));
    }

    fn interval(&mut self, sample: &Sample<'_>) {
        let stage = match sample.part {
            Part::Warmup => "warm-up",
            Part::Window => "measuring",
            Part::Drain => "last ones",
        };
        if sample.part == Part::Window {
            self.answered += sample.latency.count;
        }
        let (latency, failures) = (&sample.latency, sample.failures.total());
        let rate = thousands(sample.messages_per_second);
        let times = [latency.p50, latency.p99, latency.max].map(|time| time.map_or("-".into(), microseconds));
        let [p50, p99, max] = times;
        let lost = if self.udp { format!("lost {}  ", sample.lost) } else { String::new() };
        let came = |latencies: String| if latency.count == 0 { "nothing came back".into() } else { latencies };
        if let Some(bar) = &self.bar {
            bar.set_prefix(stage);
            bar.set_position((self.share(sample).min(1.0) * 1000.0) as u64);
            // Short enough for 80 columns. The template cuts off what does not fit.
            let latencies = came(format!("P50 {p50}  P99 {p99}"));
            bar.set_message(format!("{rate}/s  {latencies}  {lost}failures {failures}"));
        }
        let latencies = came(format!("P50 {p50}  P99 {p99}  max {max}"));
        self.line(format_args!(
            "{:7.1} s  {stage:9}  {rate:>9} messages/s  {latencies}  {lost}failures {failures}",
            sample.elapsed.as_secs_f64()
        ));
    }
}
