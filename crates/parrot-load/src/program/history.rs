//! A run over time, in no more points than a chart has room for.

use std::time::Duration;

use crate::latency::{Latencies, Latency};
use crate::{Load, Sample, Watch};

/// The most points. It is even, because they are put together in pairs.
const POINTS: usize = 240;

/// What has happened so far. When it has too many points, each two become one, so that a run of any length fits.
#[derive(Debug)]
pub(super) struct History {
    points: Vec<Point>,
    /// Samples that make a point, and those that the last point has.
    whole: usize,
    filled: usize,
    /// The latencies of the last point.
    last: Latencies,
}

/// A part of a run.
#[derive(Debug, Clone)]
pub(super) struct Point {
    /// When it begins, since the first message, and its length.
    pub(super) from: Duration,
    pub(super) length: Duration,
    pub(super) latency: Latency,
    /// Failures and lost datagrams since the run began.
    pub(super) errors: u64,
    /// Its latencies, once it is whole.
    buckets: Vec<(u64, u64)>,
}

impl Point {
    pub(super) fn to(&self) -> Duration {
        self.from + self.length
    }

    /// Answers a second.
    pub(super) fn messages_per_second(&self) -> f64 {
        self.latency.count as f64 / self.length.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// This point and the one after it as one.
    fn with(&self, next: &Point) -> Point {
        let mut latencies = Latencies::default();
        latencies.add_buckets(&self.buckets);
        latencies.add_buckets(&next.buckets);
        Point {
            from: self.from,
            length: self.length + next.length,
            latency: latencies.summary(),
            buckets: latencies.buckets(),
            ..*next
        }
    }
}

impl Default for History {
    fn default() -> History {
        History { points: Vec::new(), whole: 1, filled: 1, last: Latencies::default() }
    }
}

impl History {
    pub(super) fn points(&self) -> &[Point] {
        &self.points
    }

    /// Adds what has happened since the last sample.
    pub(super) fn add(&mut self, sample: &Sample<'_>) {
        if self.filled >= self.whole {
            self.begin_point(sample);
        }
        self.filled += 1;
        self.last.add(sample.latencies);
        let whole = self.filled >= self.whole;
        let Some(point) = self.points.last_mut() else { return };
        point.length += sample.length;
        point.latency = self.last.summary();
        point.errors = sample.failures.total() + sample.lost;
        if whole {
            point.buckets = self.last.buckets();
        }
    }

    fn begin_point(&mut self, sample: &Sample<'_>) {
        if self.points.len() >= POINTS {
            let pairs = self.points.as_chunks::<2>().0.iter();
            self.points = pairs.map(|[first, second]| first.with(second)).collect();
            self.whole *= 2;
        }
        self.filled = 0;
        self.last.clear();
        self.points.push(Point {
            from: sample.elapsed.saturating_sub(sample.length),
            length: Duration::ZERO,
            latency: Latency::default(),
            errors: 0,
            buckets: Vec::new(),
        });
    }

    /// One value for each of `columns` that divide the time up to `end`: the greatest of the points that it touches.
    /// `None` where nothing is known.
    pub(super) fn columns(
        &self,
        end: Duration,
        columns: usize,
        value: impl Fn(&Point) -> Option<f64>,
    ) -> Vec<Option<f64>> {
        let width = end.as_secs_f64() / columns.max(1) as f64;
        let greatest = |column: usize| {
            let (from, to) = (column as f64 * width, (column + 1) as f64 * width);
            let touches = |point: &&Point| point.from.as_secs_f64() < to && point.to().as_secs_f64() > from;
            self.points.iter().filter(touches).filter_map(&value).reduce(f64::max)
        };
        (0..columns).map(greatest).collect()
    }
}

/// Adds what a run reports to a history, and passes it on.
pub(super) struct Recorder<'a> {
    pub(super) watch: &'a mut dyn Watch,
    pub(super) history: &'a mut History,
}

impl Watch for Recorder<'_> {
    fn connecting(&mut self, elapsed: Duration) {
        self.watch.connecting(elapsed);
    }

    fn waiting(&mut self, left: Duration) {
        self.watch.waiting(left);
    }

    fn connected(&mut self, load: &Load, open: usize, took: Duration) {
        self.watch.connected(load, open, took);
    }

    fn window_opens(&mut self) {
        self.watch.window_opens();
    }

    fn window_closes(&mut self, late: Duration) {
        self.watch.window_closes(late);
    }

    fn interval(&mut self, sample: &Sample<'_>) {
        self.history.add(sample);
        self.watch.interval(sample);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::Part;
    use crate::failure::Failures;

    /// A sample that ends at `elapsed`, with one answer of so many microseconds in each of its milliseconds.
    pub(in super::super) fn sample(latencies: &Latencies, elapsed: Duration, length: Duration) -> Sample<'_> {
        Sample {
            elapsed,
            length,
            part: Part::Window,
            asked: None,
            messages_per_second: latencies.count() as f64 / length.as_secs_f64(),
            latency: latencies.summary(),
            latencies,
            failures: Failures::default(),
            lost: 0,
            due: 0,
            late: 0,
            threads: &[],
        }
    }

    #[test]
    fn a_long_run_has_few_points_and_all_of_its_latencies() {
        let mut history = History::default();
        let length = Duration::from_millis(100);
        for number in 1..=10_000_u32 {
            let mut latencies = Latencies::default();
            latencies.record(u64::from(number) * 1000);
            history.add(&sample(&latencies, length * number, length));
        }
        let points = history.points();
        assert!(points.len() <= POINTS && points.len() > POINTS / 2, "{}", points.len());
        assert_eq!(points.iter().map(|point| point.latency.count).sum::<u64>(), 10_000);
        assert!(points.windows(2).all(|pair| pair[0].to() == pair[1].from));
        let greatest = points.iter().filter_map(|point| point.latency.max).fold(0.0, f64::max);
        assert!((greatest / 10_000.0 - 1.0).abs() < 0.001, "{greatest}");
        let rates = points.iter().map(Point::messages_per_second);
        assert!(rates.clone().all(|rate| (rate - 10.0).abs() < 1e-6), "{:?}", rates.collect::<Vec<_>>());
    }

    #[test]
    fn a_column_shows_the_greatest_value_of_its_time() {
        let mut history = History::default();
        let second = Duration::from_secs(1);
        for (number, microseconds) in (1..).zip([10, 20, 90, 30]) {
            let mut latencies = Latencies::default();
            latencies.record(microseconds * 1000);
            history.add(&sample(&latencies, second * number, second));
        }
        let rounded = |columns, end| {
            let values = history.columns(Duration::from_secs(end), columns, |point| point.latency.max);
            values.into_iter().map(|value| value.map(f64::round)).collect::<Vec<_>>()
        };
        assert_eq!(rounded(2, 4), [Some(20.0), Some(90.0)]);
        assert_eq!(rounded(4, 8), [Some(20.0), Some(90.0), None, None]);
        assert_eq!(rounded(8, 4)[3..6], [Some(20.0), Some(90.0), Some(90.0)]);
        assert!(rounded(0, 4).is_empty());
    }
}
