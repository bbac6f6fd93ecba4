//! What is seen while a run is under way: a progress bar on a terminal, lines with `--interval`, else nothing.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use parrot_load::{Length, Plan, Sample, Watch, microseconds};

use crate::arguments::Arguments;

/// How often the bar moves.
const REFRESH: Duration = Duration::from_millis(200);

/// Where a run shows how it goes.
pub(crate) struct Screen {
    bar: Option<ProgressBar>,
    lines: bool,
    warmup: Duration,
    whole: Duration,
}

impl Screen {
    /// Chooses what to show, and has the plan report as often as that needs.
    pub(crate) fn new(plan: &Plan, arguments: &Arguments) -> Screen {
        let lines = arguments.interval.is_some();
        let bar = (!lines && !arguments.quiet && std::io::stderr().is_terminal()).then(|| {
            let style =
                ProgressStyle::with_template("{prefix:9} [{bar:30}] {msg}").map(|style| style.progress_chars("=> "));
            ProgressBar::new(1000)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_prefix("connecting")
        });
        let window = match plan.length {
            Length::Time(time) => time,
            Length::Messages(_) => Duration::ZERO,
        };
        Screen { bar, lines, warmup: plan.warmup, whole: plan.warmup + window }
    }

    /// How often the run is to tell how it goes.
    pub(crate) fn interval(&self, arguments: &Arguments) -> Option<Duration> {
        arguments.interval.or(self.bar.as_ref().map(|_| REFRESH))
    }

    /// Leaves the terminal to the report.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Watch for Screen {
    fn connected(&mut self, open: usize, took: Duration) {
        if self.lines {
            eprintln!("{open} connections open after {:.3} s", took.as_secs_f64());
        }
    }

    fn interval(&mut self, sample: &Sample) {
        let stage = match sample.measured {
            true => "measuring",
            false if sample.elapsed < self.warmup => "warm-up",
            false => "last ones",
        };
        let text = format!(
            "{:8.0} messages/s  P50 {}  P99 {}  max {}  failures {}",
            sample.messages_per_second,
            microseconds(sample.latency.p50),
            microseconds(sample.latency.p99),
            microseconds(sample.latency.max),
            sample.failures
        );
        if let Some(bar) = &self.bar {
            let share = sample.elapsed.as_secs_f64() / self.whole.as_secs_f64().max(sample.elapsed.as_secs_f64());
            bar.set_prefix(stage);
            bar.set_position((share * 1000.0) as u64);
            bar.set_message(text);
        } else if self.lines {
            eprintln!("{:7.1} s  {stage:9}  {text}", sample.elapsed.as_secs_f64());
        }
    }
}
