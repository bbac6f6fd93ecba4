//! Times of the loop, in eight bytes each, because every connection has one.

use std::ops::Add;
use std::time::{Duration, Instant};

/// A time of the loop: nanoseconds since its start. An `Instant` takes sixteen bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

impl Moment {
    /// `now` in a loop that has started at `start`.
    pub(super) fn since(start: Instant, now: Instant) -> Moment {
        Moment::default() + now.saturating_duration_since(start)
    }

    /// This time as the system's clock shows it.
    pub(super) fn instant(self, start: Instant) -> Instant {
        start + Duration::from_nanos(self.0)
    }

    /// The time that is `time` later. `None` if it is more than 584 years after the start.
    pub(super) fn checked_add(self, time: Duration) -> Option<Moment> {
        let nanoseconds = u64::try_from(time.as_nanos()).ok()?;
        self.0.checked_add(nanoseconds).map(Moment)
    }

    pub(super) fn saturating_duration_since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    /// The time that is `time` later, or the last one there is.
    fn add(self, time: Duration) -> Moment {
        self.checked_add(time).unwrap_or(Moment(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_as_exact_as_the_clock() {
        let start = Instant::now();
        let now = start + Duration::new(86_400, 1);
        let moment = Moment::since(start, now);
        assert_eq!(moment.instant(start), now);
        assert_eq!(moment.saturating_duration_since(Moment::default()), Duration::new(86_400, 1));
        assert_eq!(Moment::default().saturating_duration_since(moment), Duration::ZERO);
        assert_eq!(Moment::since(now, start), Moment::default(), "no time is before the start");
    }

    #[test]
    fn a_time_beyond_the_clock_never_comes() {
        let moment = Moment::default() + Duration::from_secs(1);
        assert_eq!(moment.checked_add(Duration::MAX), None);
        assert_eq!(moment.checked_add(Duration::from_nanos(u64::MAX)), None);
        assert_eq!(moment + Duration::MAX, Moment(u64::MAX));
    }
}
