//! How long a wait may take, in terms that every system accepts.

use std::time::Duration;

/// The longest single wait. Earlier releases of OpenBSD refuse timeouts above 24 hours and others refuse very large
/// seconds, so a longer wait ends early without an event, as the documentation of `Kqueue::wait` allows.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60 - 1);

/// The timeout that is handed to the system; `None` waits for as long as it takes.
pub(crate) fn clamp(timeout: Option<Duration>) -> Option<Duration> {
    timeout.map(|timeout| timeout.min(LONGEST))
}

/// Whole milliseconds, rounded up: a wait that ends before its time would be started again with less than
/// a millisecond left, and spin.
#[cfg(target_os = "linux")]
pub(crate) fn round_up_to_milliseconds(timeout: Duration) -> Duration {
    Duration::from_millis(u64::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_timeout_stays_no_timeout() {
        assert_eq!(clamp(None), None);
    }

    #[test]
    fn the_longest_duration_is_cut_below_a_day() {
        assert_eq!(clamp(Some(Duration::MAX)), Some(LONGEST));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_nanosecond_is_rounded_up_to_a_millisecond() {
        assert_eq!(round_up_to_milliseconds(Duration::from_nanos(1)), Duration::from_millis(1));
        assert_eq!(round_up_to_milliseconds(Duration::from_millis(7)), Duration::from_millis(7));
        assert_eq!(round_up_to_milliseconds(Duration::ZERO), Duration::ZERO);
    }
}
