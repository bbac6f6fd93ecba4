//! How long a wait may take, in terms that every system accepts.

use std::time::Duration;

/// The longest single wait. Earlier releases of OpenBSD refuse timeouts above 24 hours, and other systems refuse very
/// large seconds. A longer wait ends early without an event, as the documentation of `Kqueue::wait` allows.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60 - 1);

/// The timeout for the system. `None` waits for as long as it takes.
pub(crate) fn clamp(timeout: Option<Duration>) -> Option<Duration> {
    timeout.map(|timeout| timeout.min(LONGEST))
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
}
