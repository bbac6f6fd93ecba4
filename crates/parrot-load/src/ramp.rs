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
    pub(crate) fn count(self, seconds: f64) -> f64 {
        let over = self.over.as_secs_f64();
        let (rising, after) = (seconds.min(over), (seconds - over).max(0.0));
        (self.from + self.slope() * rising / 2.0) * rising + self.to * after
    }

    /// When, in seconds from the start of the window, `messages` are due.
    pub(crate) fn time(self, messages: f64) -> f64 {
        let over = self.over.as_secs_f64();
        let rest = messages - self.count(over);
        if rest >= 0.0 {
            return over + rest / self.to;
        }
        // The solution of `count(time) = messages`, in the form that loses no digits for a small slope.
        2.0 * messages / (self.from + (self.from * self.from + 2.0 * self.slope() * messages).max(0.0).sqrt())
    }
}
