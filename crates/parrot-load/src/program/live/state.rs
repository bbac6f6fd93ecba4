//! What the screen shows, as it is known so far.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::history::History;
use crate::failure::Failures;
use crate::latency::{Latencies, Latency};
use crate::report::marks::LATE_SHARE;
use crate::{Length, Load, Objective, Part, Plan, Sample, Step, Usage};

/// What is shown as current is of this time.
const RECENT: Duration = Duration::from_secs(1);

/// The stage of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stage {
    /// It opens its connections and has taken so long.
    Connecting(Duration),
    /// It begins after this time.
    Waiting(Duration),
    Warmup,
    Window,
    Drain,
}

/// A run as it is known so far.
#[derive(Debug)]
pub(super) struct State {
    /// The load in a line.
    pub(super) load: String,
    pub(super) stage: Stage,
    /// Connections that are open, and how many there should be.
    pub(super) open: Option<usize>,
    pub(super) wanted: usize,
    /// Whether the load consists of datagrams, which may be lost.
    pub(super) udp: bool,
    /// Messages a second that are asked for now, in an open loop.
    pub(super) rate: Option<f64>,
    warmup: Duration,
    pub(super) length: Length,
    /// Time since the first message.
    pub(super) elapsed: Duration,
    pub(super) history: History,
    recent: VecDeque<Recent>,
    /// The window's latencies, and its length so far.
    pub(super) window: Latencies,
    measured: Duration,
    pub(super) failures: Failures,
    pub(super) lost: u64,
    pub(super) threads: Vec<Usage>,
    pub(super) search: Option<Search>,
    /// Whether it was asked to stop.
    pub(super) stopping: bool,
}

/// What happened in a sample.
#[derive(Debug)]
struct Recent {
    length: Duration,
    buckets: Vec<(u64, u64)>,
    due: u64,
    late: u64,
}

/// A search for a rate, of which each run is a step.
#[derive(Debug, Default)]
pub(super) struct Search {
    pub(super) objectives: Vec<Objective>,
    pub(super) steps: Vec<Step>,
    /// The highest rate that held, and the lowest that failed.
    pub(super) bracket: (Option<f64>, Option<f64>),
}

/// Current figures.
#[derive(Debug, Default)]
pub(super) struct Now {
    pub(super) messages_per_second: f64,
    pub(super) latency: Latency,
    /// Open loop: the share of messages that were sent late.
    pub(super) late: f64,
}

impl State {
    pub(super) fn new(plan: &Plan, search: Option<Search>) -> State {
        let load = plan.targets.first().map(|target| Load::of(plan, target).to_string());
        State {
            load: load.unwrap_or_default(),
            stage: Stage::Connecting(Duration::ZERO),
            open: None,
            wanted: plan.kept(),
            udp: plan.is_udp(),
            rate: None,
            warmup: plan.warmup,
            length: plan.length,
            elapsed: Duration::ZERO,
            history: History::default(),
            recent: VecDeque::new(),
            window: Latencies::default(),
            measured: Duration::ZERO,
            failures: Failures::default(),
            lost: 0,
            threads: Vec::new(),
            search,
            stopping: false,
        }
    }

    /// Begins a run, or the next one of a search.
    pub(super) fn connected(&mut self, load: &Load, open: usize) {
        self.load = load.to_string();
        self.open = Some(open);
        self.rate = load.rate;
        if let Some(seconds) = load.duration {
            self.length = Length::Time(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
        }
        self.stage = Stage::Warmup;
        self.elapsed = Duration::ZERO;
        self.history = History::default();
        self.recent.clear();
        self.window.clear();
        self.measured = Duration::ZERO;
        self.failures = Failures::default();
        self.lost = 0;
    }

    pub(super) fn add(&mut self, sample: &Sample<'_>) {
        self.stage = match sample.part {
            Part::Warmup => Stage::Warmup,
            Part::Window => Stage::Window,
            Part::Drain => Stage::Drain,
        };
        self.elapsed = sample.elapsed;
        self.rate = sample.asked.or(self.rate);
        self.history.add(sample);
        if sample.part == Part::Window {
            self.window.add(sample.latencies);
            self.measured += sample.length;
        }
        self.failures = sample.failures;
        self.lost = sample.lost;
        self.threads.clear();
        self.threads.extend_from_slice(sample.threads);
        let Sample { length, due, late, .. } = *sample;
        self.recent.push_back(Recent { length, buckets: sample.latencies.buckets(), due, late });
        let mut known: Duration = self.recent.iter().map(|one| one.length).sum();
        while let Some(oldest) = self.recent.front()
            && known.saturating_sub(oldest.length) >= RECENT
        {
            known -= oldest.length;
            self.recent.pop_front();
        }
    }

    /// The figures of the last second.
    pub(super) fn now(&self) -> Now {
        let mut latencies = Latencies::default();
        let (mut length, mut due, mut late) = (Duration::ZERO, 0, 0);
        for one in &self.recent {
            latencies.add_buckets(&one.buckets);
            length += one.length;
            due += one.due;
            late += one.late;
        }
        Now {
            messages_per_second: per_second(latencies.count(), length),
            latency: latencies.summary(),
            late: late as f64 / due.max(1) as f64,
        }
    }

    /// Answers a second in the window so far.
    pub(super) fn messages_per_second(&self) -> f64 {
        per_second(self.window.count(), self.measured)
    }

    /// When the window is to end, since the first message.
    pub(super) fn planned(&self) -> Option<Duration> {
        match self.length {
            Length::Time(window) => Some(self.warmup.saturating_add(window)),
            Length::Messages(_) => None,
        }
    }

    /// The share of the run that has passed, from 0 to 1.
    pub(super) fn share(&self) -> f64 {
        let share = match (self.length, self.planned()) {
            (Length::Messages(wanted), _) => self.window.count() as f64 / wanted as f64,
            (_, Some(planned)) => self.elapsed.as_secs_f64() / planned.as_secs_f64().max(f64::MIN_POSITIVE),
            _ => 0.0,
        };
        share.clamp(0.0, 1.0)
    }

    /// Why the load generator is the limit, if it is.
    pub(super) fn client_limit(&self, now: &Now) -> Option<&'static str> {
        let open_loop = self.rate.is_some() || self.search.is_some();
        if now.late > LATE_SHARE {
            Some("CLIENT IS LATE")
        } else if !open_loop && self.threads.iter().any(Usage::is_full) {
            Some("CLIENT IS THE LIMIT")
        } else {
            None
        }
    }

    /// The share of messages that failed or were lost so far.
    pub(super) fn errors(&self) -> f64 {
        let errors = (self.failures.total() + self.lost) as f64;
        if errors > 0.0 { (errors / (self.window.count() as f64 + errors)).min(1.0) } else { 0.0 }
    }
}

fn per_second(count: u64, length: Duration) -> f64 {
    if length > Duration::ZERO { count as f64 / length.as_secs_f64() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::super::history::tests::sample;
    use super::*;

    #[test]
    fn current_figures_are_those_of_the_last_second() {
        let mut state = State::new(&Plan::new(SocketAddr::from(([127, 0, 0, 1], 1512))), None);
        let tenth = Duration::from_millis(100);
        for number in 1..=50 {
            let mut latencies = Latencies::default();
            (0..number).for_each(|_| latencies.record(1000 * u64::from(number)));
            state.add(&sample(&latencies, tenth * number, tenth));
        }
        let now = state.now();
        assert_eq!((now.latency.count, now.messages_per_second.round()), ((41..=50).sum(), 455.0));
        assert_eq!((state.window.count(), state.messages_per_second().round()), ((1..=50).sum(), 255.0));
    }

    #[test]
    fn the_client_is_the_limit_if_a_thread_is_full_or_late() {
        let mut state = State::new(&Plan::new(SocketAddr::from(([127, 0, 0, 1], 1512))), None);
        let latencies = Latencies::default();
        let second = Duration::from_secs(1);
        let mut limit = |used, waited, late, rate| {
            let threads = [Usage { used: Some(0.1), waited: None }, Usage { used: Some(used), waited: Some(waited) }];
            state.add(&Sample { threads: &threads, asked: rate, due: 100, late, ..sample(&latencies, second, second) });
            state.client_limit(&state.now())
        };
        assert_eq!(limit(0.9, 0.01, 0, None), None);
        assert_eq!(limit(0.9, 0.06, 0, None), Some("CLIENT IS THE LIMIT"));
        assert_eq!(limit(1.0, 0.0, 1, Some(9.0)), None, "an open loop looks at the clock while it waits");
        assert_eq!(limit(0.5, 0.0, 2, Some(9.0)), Some("CLIENT IS LATE"));
    }
}
