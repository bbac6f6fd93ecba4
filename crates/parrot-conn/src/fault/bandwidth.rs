//! Bytes that leave no faster than a rate per second.

use std::num::NonZeroU64;
use std::time::Duration;

/// The time whose bytes may leave at once. Shorter ones would have the loop wait more often.
const AT_ONCE: Duration = Duration::from_millis(10);

const SECOND: u128 = 1_000_000_000;

/// A pace for bytes, as a generic cell rate algorithm with one time as its state.
///
/// In any time `t` at most `rate * (t + 20 ms)` bytes leave, and one byte more. Over a longer time the rate is exact
/// while bytes wait and the caller is less than 10 ms late.
#[derive(Debug)]
pub(super) struct Bandwidth {
    rate: NonZeroU64,
    /// When the bytes that have left so far are paid for.
    paid: Duration,
}

impl Bandwidth {
    pub(super) fn new(rate: NonZeroU64) -> Bandwidth {
        Bandwidth { rate, paid: Duration::ZERO }
    }

    /// How many bytes may leave at this time. It is at least one once [`next`](Bandwidth::next) has come.
    pub(super) fn allows(&self, now: Duration) -> usize {
        if now < self.paid {
            return 0;
        }
        let at_once = u128::from(self.rate.get()) * AT_ONCE.as_nanos() / SECOND;
        usize::try_from(at_once).unwrap_or(usize::MAX).max(1)
    }

    /// When the next bytes may leave.
    pub(super) fn next(&self) -> Duration {
        self.paid
    }

    pub(super) fn sent(&mut self, n: usize, now: Duration) {
        // A caller that asks up to 10 ms late can send the bytes of that time.
        let from = self.paid.max(now.saturating_sub(AT_ONCE));
        // Rounded up, so that the rate is never exceeded.
        let cost = (n as u128 * SECOND).div_ceil(self.rate.get().into());
        let cost = u64::try_from(cost).map_or(Duration::MAX, Duration::from_nanos);
        self.paid = from.saturating_add(cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends whatever is allowed until `end`, asks each time `late`, and returns the time and size of each piece.
    fn sends(rate: u64, late: Duration, end: Duration) -> Vec<(Duration, usize)> {
        let mut bandwidth = Bandwidth::new(NonZeroU64::new(rate).unwrap());
        let mut sends = Vec::new();
        let mut now = Duration::ZERO;
        while now < end {
            let n = bandwidth.allows(now);
            assert_ne!(n, 0, "after {now:?} at {rate}/s");
            bandwidth.sent(n, now);
            sends.push((now, n));
            now = bandwidth.next().max(now) + late;
        }
        sends
    }

    #[test]
    fn a_second_takes_as_many_bytes_as_the_rate() {
        for rate in [1, 7, 1000, 65_536, 1_000_003, 10_000_000_000] {
            let seconds = 10;
            for late in [Duration::ZERO, Duration::from_millis(9)] {
                let all: usize = sends(rate, late, Duration::from_secs(seconds)).iter().map(|(_, n)| n).sum();
                let (all, expected) = (all as u64, rate * seconds);
                assert!(all.abs_diff(expected) <= rate / 40 + 1, "{all} of {expected} bytes, asked {late:?} late");
            }
        }
    }

    #[test]
    fn no_time_takes_more_than_its_bound() {
        for rate in [3, 1000, 65_536] {
            let sends = sends(rate, Duration::from_millis(4), Duration::from_secs(2));
            for (first, (since, _)) in sends.iter().enumerate() {
                let mut sum = 0;
                for (at, n) in &sends[first..] {
                    sum += *n as u128;
                    let time = (*at - *since + 2 * AT_ONCE).as_nanos();
                    assert!(sum <= u128::from(rate) * time / SECOND + 1, "{sum} bytes from {since:?} to {at:?}");
                }
            }
        }
    }

    #[test]
    fn a_third_of_a_second_is_rounded_up() {
        let mut bandwidth = Bandwidth::new(NonZeroU64::new(3).unwrap());
        bandwidth.sent(1, Duration::ZERO);
        assert_eq!(bandwidth.next(), Duration::from_nanos(333_333_334));
    }

    #[test]
    fn a_quiet_time_is_not_saved_up() {
        let mut bandwidth = Bandwidth::new(NonZeroU64::new(1000).unwrap());
        let later = Duration::from_secs(60);
        assert_eq!(bandwidth.allows(later), 10);
        bandwidth.sent(10, later);
        bandwidth.sent(10, later);
        assert_eq!((bandwidth.allows(later), bandwidth.next()), (0, later + AT_ONCE));
    }
}
