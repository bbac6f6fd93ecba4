//! A rate that is held for a while and then goes to the next one.

use std::time::Duration;

/// The most steps of a window. Each has a histogram of its own.
pub(crate) const MOST_STEPS: u32 = 100;

/// A rate that goes from one value to another in equal steps, up or down, each held for the same time. It is `from`
/// during the warm-up and the first step, and `to` during the last one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steps {
    /// Messages a second of the first step.
    pub from: f64,
    /// Messages a second of the last step.
    pub to: f64,
    /// How many rates there are, from 2 to 100.
    pub count: u32,
    /// How long all of them take. The window has to be as long.
    pub over: Duration,
}

impl Steps {
    /// How long a step takes, in seconds.
    pub(crate) fn each(self) -> f64 {
        self.over.as_secs_f64() / f64::from(self.count)
    }

    /// Messages a second of step number `step`, from 0.
    pub(crate) fn rate(self, step: u32) -> f64 {
        let share = f64::from(step) / f64::from(self.count - 1);
        self.from + (self.to - self.from) * share
    }

    /// The number of the step that is held `seconds` after the start of the window.
    pub(crate) fn at(self, seconds: f64) -> u32 {
        ((seconds / self.each()) as u32).min(self.count - 1)
    }

    /// How many messages are due before step number `step`.
    fn before(self, step: u32) -> f64 {
        // The rates of the steps rise evenly, so their mean is that of the first and the last one.
        let mean = if step == 0 { 0.0 } else { (self.from + self.rate(step - 1)) / 2.0 };
        mean * f64::from(step) * self.each()
    }

    /// How many messages are due in the first `seconds` of the window.
    pub(crate) fn count(self, seconds: f64) -> f64 {
        let step = self.at(seconds);
        self.before(step) + self.rate(step) * (seconds - f64::from(step) * self.each())
    }

    /// When, in seconds from the start of the window, `messages` are due.
    pub(crate) fn time(self, messages: f64) -> f64 {
        // There are few steps, so the one is found by looking at each.
        let step = (1..self.count).take_while(|step| self.before(*step) <= messages).last().unwrap_or(0);
        f64::from(step) * self.each() + (messages - self.before(step)) / self.rate(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_step_holds_its_rate_for_its_share_of_the_time() {
        for (from, to, rates) in [(100.0, 500.0, [100.0, 300.0, 500.0]), (500.0, 100.0, [500.0, 300.0, 100.0])] {
            let steps = Steps { from, to, count: 3, over: SECOND * 6 };
            assert_eq!([0, 1, 2].map(|step| steps.rate(step)), rates);
            let due_in = |step: f64| steps.count(2.0 * step + 2.0) - steps.count(2.0 * step);
            assert_eq!([0.0, 1.0, 2.0].map(|step| due_in(step).round() / 2.0), rates);
            assert_eq!([0.0, 1.99, 2.01, 4.01, 7.0].map(|seconds| steps.at(seconds)), [0, 0, 1, 2, 2]);
        }
    }

    #[test]
    fn both_ways_to_ask_for_a_message_agree() {
        let steps = Steps { from: 50.0, to: 2000.0, count: 7, over: SECOND * 3 };
        let mut before = 0.0;
        for number in 0..9000 {
            let number = f64::from(number);
            let time = steps.time(number);
            assert!(time >= before, "{number} is due at {time}, before the one before it");
            assert!((steps.count(time) - number).abs() < 1e-6, "{number} is due at {time}");
            before = time;
        }
    }
}
