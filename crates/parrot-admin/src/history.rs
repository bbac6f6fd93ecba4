//! The last ten minutes, a sample for each second, so that a page that is opened now shows them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parrot_server::fault::FaultKind;
use parrot_server::{Durations, Refusal, Statistics};
use serde::Serialize;

use crate::watch::Numbers;

/// Samples of ten minutes.
const SAMPLES: usize = 600;

/// The samples, and what the next one is compared with.
#[derive(Debug, Default)]
pub(crate) struct History {
    samples: VecDeque<Sample>,
    /// How many samples there were so far.
    count: u64,
    last: Option<(Instant, Numbers)>,
}

/// What happened from one sample to the next. Rates are per second.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    connections: u64,
    messages: f32,
    received_bytes: f32,
    sent_bytes: f32,
    buffered_bytes: u64,
    turn_median: Option<f32>,
    turn_99: Option<f32>,
    lateness_99: Option<f32>,
    rejected_connections: f32,
    dropped_datagrams: f32,
    dropped_log_lines: f32,
}

/// Samples as JSON has them: a list for each number, oldest first.
#[derive(Debug, Serialize)]
pub(crate) struct Samples {
    interval_seconds: u32,
    /// The number of the first sample in the lists, counted from the start of the process.
    first: u64,
    /// The number that the next sample will have.
    next: u64,
    connections: Vec<u64>,
    messages_per_second: Vec<f32>,
    received_bytes_per_second: Vec<f32>,
    sent_bytes_per_second: Vec<f32>,
    buffered_bytes: Vec<u64>,
    turn_seconds_median: Vec<Option<f32>>,
    turn_seconds_99: Vec<Option<f32>>,
    lateness_seconds_99: Vec<Option<f32>>,
    rejected_connections_per_second: Vec<f32>,
    dropped_datagrams_per_second: Vec<f32>,
    dropped_log_lines_per_second: Vec<f32>,
}

impl History {
    /// Adds a sample. The first numbers are there only to be compared with.
    pub(crate) fn add(&mut self, now: Instant, numbers: Numbers) {
        if let Some((before, last)) = &self.last {
            let sample = Sample::between(last, &numbers, now.saturating_duration_since(*before));
            if self.samples.len() == SAMPLES {
                self.samples.pop_front();
            }
            self.samples.push_back(sample);
            self.count += 1;
        }
        self.last = Some((now, numbers));
    }

    /// The samples from this number on.
    pub(crate) fn from(&self, number: u64) -> Samples {
        let oldest = self.count.saturating_sub(self.samples.len() as u64);
        // A number from before a restart is beyond all that there are.
        let first = if number > self.count { oldest } else { number.max(oldest) };
        let skipped = usize::try_from(first - oldest).unwrap_or(SAMPLES);
        let samples = || self.samples.iter().skip(skipped);
        Samples {
            interval_seconds: 1,
            first,
            next: self.count,
            connections: samples().map(|sample| sample.connections).collect(),
            messages_per_second: samples().map(|sample| sample.messages).collect(),
            received_bytes_per_second: samples().map(|sample| sample.received_bytes).collect(),
            sent_bytes_per_second: samples().map(|sample| sample.sent_bytes).collect(),
            buffered_bytes: samples().map(|sample| sample.buffered_bytes).collect(),
            turn_seconds_median: samples().map(|sample| sample.turn_median).collect(),
            turn_seconds_99: samples().map(|sample| sample.turn_99).collect(),
            lateness_seconds_99: samples().map(|sample| sample.lateness_99).collect(),
            rejected_connections_per_second: samples().map(|sample| sample.rejected_connections).collect(),
            dropped_datagrams_per_second: samples().map(|sample| sample.dropped_datagrams).collect(),
            dropped_log_lines_per_second: samples().map(|sample| sample.dropped_log_lines).collect(),
        }
    }
}

impl Sample {
    fn between(before: &Numbers, after: &Numbers, time: Duration) -> Sample {
        let seconds = time.as_secs_f64().max(f64::MIN_POSITIVE);
        let rate = |of: fn(&Numbers) -> u64| (of(after).saturating_sub(of(before)) as f64 / seconds) as f32;
        let turns = after.server.turn_times.since(&before.server.turn_times);
        let lateness = after.server.lateness.since(&before.server.lateness);
        let percentile =
            |durations: Durations, percent| durations.percentile(percent).map(|duration| duration.as_secs_f32());
        Sample {
            connections: after.server.connections,
            messages: rate(|numbers| numbers.server.messages),
            received_bytes: rate(|numbers| numbers.server.bytes_in),
            sent_bytes: rate(|numbers| numbers.server.bytes_out),
            buffered_bytes: after.server.buffered_bytes,
            turn_median: percentile(turns, 50),
            turn_99: percentile(turns, 99),
            lateness_99: percentile(lateness, 99),
            rejected_connections: rate(|numbers| rejected_connections(&numbers.server).iter().map(|(_, n)| n).sum()),
            dropped_datagrams: rate(|numbers| dropped_datagrams(&numbers.server).iter().map(|(_, n)| n).sum()),
            dropped_log_lines: rate(|numbers| numbers.log.unwrap_or_default().dropped),
        }
    }
}

/// How many connections and datagrams had each kind of fault, by the name that it has in metrics and statistics.
pub(crate) fn faults(statistics: &Statistics) -> Vec<(String, u64)> {
    FaultKind::ALL.map(|kind| (kind.as_str().replace('-', "_"), statistics.faults(kind))).into()
}

/// Connections that were not served, by reason.
pub(crate) fn rejected_connections(statistics: &Statistics) -> [(&'static str, u64); 4] {
    [
        ("too many", statistics.refused),
        ("untrusted proxy", statistics.untrusted),
        ("not set up", statistics.set_up_failures),
        ("not accepted", statistics.accept_failures),
    ]
}

/// Datagrams that were not answered, by reason.
pub(crate) fn dropped_datagrams(statistics: &Statistics) -> Vec<(&'static str, u64)> {
    let refusals = Refusal::ALL.map(|refusal| (refusal.as_str(), statistics.refused_datagrams(refusal)));
    let by_the_system =
        [("not received", statistics.datagrams_dropped_in), ("not sent", statistics.datagrams_dropped_out)];
    refusals.into_iter().chain(by_the_system).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::LogLines;

    fn numbers(messages: u64) -> Numbers {
        let mut server = Statistics::default();
        (server.messages, server.connections) = (messages, messages / 10);
        Numbers { server, log: Some(LogLines { written: 0, dropped: messages / 2 }) }
    }

    #[test]
    fn rates_are_per_second_however_long_a_sample_took() {
        let (mut history, start) = (History::default(), Instant::now());
        history.add(start, numbers(100));
        assert_eq!(history.from(0).next, 0);
        history.add(start + Duration::from_secs(1), numbers(200));
        history.add(start + Duration::from_secs(5), numbers(1000));
        let samples = history.from(0);
        assert_eq!((samples.first, samples.next), (0, 2));
        assert_eq!(samples.messages_per_second, [100.0, 200.0]);
        assert_eq!(samples.dropped_log_lines_per_second, [50.0, 100.0]);
        assert_eq!(samples.connections, [20, 100]);
        assert_eq!(samples.turn_seconds_99, [None, None]);
    }

    #[test]
    fn the_history_has_ten_minutes_and_gives_the_newer_ones() {
        let (mut history, start) = (History::default(), Instant::now());
        for second in 0..=700 {
            history.add(start + Duration::from_secs(second), numbers(second * second));
        }
        let all = history.from(0);
        assert_eq!((all.first, all.next, all.connections.len()), (100, 700, 600));
        let newest = history.from(699);
        assert_eq!((newest.first, newest.next), (699, 700));
        assert_eq!(newest.messages_per_second, all.messages_per_second[599..]);
        assert!(history.from(700).connections.is_empty());
        // The page may come from before a restart.
        assert_eq!(history.from(12_345).connections.len(), 600);
    }
}
