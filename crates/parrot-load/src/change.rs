//! A rate that changes in the course of the window, in whichever way.

use std::time::Duration;

use crate::plan::Pace;
use crate::ramp::Ramp;
use crate::steps::Steps;

/// How the rate of an open loop changes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    Ramp(Ramp),
    Steps(Steps),
}

impl Change {
    /// That of a pace, if its rate changes.
    pub(crate) fn of(pace: Pace) -> Option<Change> {
        match pace {
            Pace::Closed | Pace::Rate(_) => None,
            Pace::Ramp(ramp) => Some(Change::Ramp(ramp)),
            Pace::Steps(steps) => Some(Change::Steps(steps)),
        }
    }

    /// Messages a second at the start of the window, and before it.
    pub(crate) fn from(self) -> f64 {
        match self {
            Change::Ramp(ramp) => ramp.from,
            Change::Steps(steps) => steps.from,
        }
    }

    /// Messages a second at its end.
    pub(crate) fn to(self) -> f64 {
        match self {
            Change::Ramp(ramp) => ramp.to,
            Change::Steps(steps) => steps.to,
        }
    }

    /// How long it takes.
    pub(crate) fn over(self) -> Duration {
        match self {
            Change::Ramp(ramp) => ramp.over,
            Change::Steps(steps) => steps.over,
        }
    }

    /// How many messages are due in the first `seconds` of the window.
    fn count(self, seconds: f64) -> f64 {
        match self {
            Change::Ramp(ramp) => ramp.count(seconds),
            Change::Steps(steps) => steps.count(seconds),
        }
    }

    /// When, in seconds from the start of the window, `messages` are due.
    fn time(self, messages: f64) -> f64 {
        match self {
            Change::Ramp(ramp) => ramp.time(messages),
            Change::Steps(steps) => steps.time(messages),
        }
    }

    /// Messages a second on average over the first `seconds` of the window.
    pub(crate) fn mean(self, seconds: f64) -> f64 {
        if seconds > 0.0 { self.count(seconds) / seconds } else { self.from() }
    }

    /// When message number `number` is due, in nanoseconds from the start of a warm-up of this length.
    pub(crate) fn due(self, number: f64, warmup: Duration) -> f64 {
        let warmup = warmup.as_secs_f64();
        let before = self.from() * warmup;
        1e9 * if number < before { number / self.from() } else { warmup + self.time(number - before) }
    }

    /// How many messages are due within `nanoseconds` from the start of a warm-up of this length.
    pub(crate) fn due_within(self, nanoseconds: f64, warmup: Duration) -> f64 {
        let (seconds, warmup) = (nanoseconds / 1e9, warmup.as_secs_f64());
        self.from() * seconds.min(warmup) + self.count((seconds - warmup).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn messages_come_faster_or_slower_as_the_rate_changes() {
        for (from, to) in [(100.0, 1000.0), (1000.0, 100.0)] {
            let ramp = Change::Ramp(Ramp { from, to, over: SECOND * 4 });
            let gaps: Vec<f64> = (0..4000)
                .map(|number| ramp.due(f64::from(number) + 1.0, SECOND) - ramp.due(f64::from(number), SECOND))
                .collect();
            let (warmup, steady) = (gaps[0], gaps[3999]);
            assert!((warmup * from / 1e9 - 1.0).abs() < 1e-6 && (steady * to / 1e9 - 1.0).abs() < 1e-6, "{ramp:?}");
            let is_monotonic = if to > from {
                gaps.is_sorted_by(|a, b| *b < a + 1e-2)
            } else {
                gaps.is_sorted_by(|a, b| *b > a - 1e-2)
            };
            assert!(is_monotonic, "{ramp:?}");
        }
    }

    #[test]
    fn both_ways_to_ask_for_a_message_agree() {
        let ramp = Change::Ramp(Ramp { from: 50.0, to: 2000.0, over: SECOND * 3 });
        let steps = Change::Steps(Steps { from: 50.0, to: 2000.0, count: 7, over: SECOND * 3 });
        for change in [ramp, steps] {
            for number in 0..9000 {
                let number = f64::from(number);
                let counted = change.due_within(change.due(number, SECOND), SECOND);
                assert!((counted - number).abs() < 1e-6, "{number} is {counted} of {change:?}");
            }
        }
    }

    #[test]
    fn the_mean_of_a_window_is_that_of_the_part_of_the_ramp_in_it() {
        let ramp = Change::Ramp(Ramp { from: 100.0, to: 300.0, over: SECOND * 2 });
        assert_eq!([0.0, 1.0, 2.0, 4.0].map(|seconds| ramp.mean(seconds)), [100.0, 150.0, 200.0, 250.0]);
    }
}
