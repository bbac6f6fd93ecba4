//! A rate that changes in the course of the window.

use std::time::Duration;

/// A rate that goes evenly from one value to another, up or down, from the start of the window on. It is `from` during
/// the warm-up, and stays at `to` afterwards.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ramp {
    /// Messages a second at the start of the window.
    pub from: f64,
    /// Messages a second at the end of the ramp.
    pub to: f64,
    /// How long the ramp takes.
    pub over: Duration,
}

impl Ramp {
    /// How much the rate grows in a second.
    fn slope(self) -> f64 {
        (self.to - self.from) / self.over.as_secs_f64()
    }

    /// How many messages are due in the first `seconds` of the window.
    fn count(self, seconds: f64) -> f64 {
        let over = self.over.as_secs_f64();
        let (rising, after) = (seconds.min(over), (seconds - over).max(0.0));
        (self.from + self.slope() * rising / 2.0) * rising + self.to * after
    }

    /// When, in seconds from the start of the window, `messages` are due.
    fn time(self, messages: f64) -> f64 {
        let over = self.over.as_secs_f64();
        let rest = messages - self.count(over);
        if rest >= 0.0 {
            return over + rest / self.to;
        }
        // The solution of `count(time) = messages`, in the form that loses no digits for a small slope.
        2.0 * messages / (self.from + (self.from * self.from + 2.0 * self.slope() * messages).max(0.0).sqrt())
    }

    /// Messages a second on average over the first `seconds` of the window.
    pub(crate) fn mean(self, seconds: f64) -> f64 {
        if seconds > 0.0 { self.count(seconds) / seconds } else { self.from }
    }

    /// When message number `number` is due, in nanoseconds from the start of a warm-up of this length.
    pub(crate) fn due(self, number: f64, warmup: Duration) -> f64 {
        let warmup = warmup.as_secs_f64();
        let before = self.from * warmup;
        1e9 * if number < before { number / self.from } else { warmup + self.time(number - before) }
    }

    /// How many messages are due within `nanoseconds` from the start of a warm-up of this length.
    pub(crate) fn due_within(self, nanoseconds: f64, warmup: Duration) -> f64 {
        let (seconds, warmup) = (nanoseconds / 1e9, warmup.as_secs_f64());
        self.from * seconds.min(warmup) + self.count((seconds - warmup).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn messages_come_faster_or_slower_as_the_rate_changes() {
        for (from, to) in [(100.0, 1000.0), (1000.0, 100.0)] {
            let ramp = Ramp { from, to, over: SECOND * 4 };
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
        let ramp = Ramp { from: 50.0, to: 2000.0, over: SECOND * 3 };
        for number in 0..9000 {
            let number = f64::from(number);
            let counted = ramp.due_within(ramp.due(number, SECOND), SECOND);
            assert!((counted - number).abs() < 1e-6, "{number} is {counted}");
        }
    }

    #[test]
    fn the_mean_of_a_window_is_that_of_the_part_of_the_ramp_in_it() {
        let ramp = Ramp { from: 100.0, to: 300.0, over: SECOND * 2 };
        assert_eq!([0.0, 1.0, 2.0, 4.0].map(|seconds| ramp.mean(seconds)), [100.0, 150.0, 200.0, 250.0]);
    }
}
