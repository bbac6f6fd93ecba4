//! Local time as text, formatted once a second.

use std::time::SystemTime;

use jiff::{Timestamp, fmt::strtime, tz::TimeZone};

/// Formats the current second in a time zone and keeps the text until the second changes.
///
/// The offset is looked up with each new second, so a change to or from daylight saving time shows at once. The zone
/// was read when the clock was made. No file is read later, in a loop that must not wait for a disk.
#[derive(Debug)]
pub(crate) struct LocalClock {
    zone: TimeZone,
    pattern: &'static str,
    second: Option<i64>,
    text: String,
}

impl LocalClock {
    /// A clock whose texts follow `pattern` (strftime).
    pub(crate) fn new(zone: TimeZone, pattern: &'static str) -> LocalClock {
        LocalClock { zone, pattern, second: None, text: String::new() }
    }

    /// The text for `now`.
    pub(crate) fn text(&mut self, now: SystemTime) -> &str {
        let second = match now.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            Err(_) => 0, // before 1970
        };
        if self.second != Some(second) {
            self.second = Some(second);
            let zoned = Timestamp::from_second(second).unwrap_or(Timestamp::MAX).to_zoned_datetime(self.zone.clone());
            self.text = strtime::format(self.pattern, &zoned).unwrap_or_else(|_| String::from("-"));
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CLF: &str = "%d/%b/%Y:%H:%M:%S %z";

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    #[test]
    fn time_is_local_and_carries_its_offset() {
        let mut clock = LocalClock::new(TimeZone::posix("MST7").unwrap(), CLF);
        assert_eq!(clock.text(at(1_136_239_445)), "02/Jan/2006:15:04:05 -0700");
        assert_eq!(clock.text(at(1_136_239_446)), "02/Jan/2006:15:04:06 -0700");
        assert_eq!(clock.text(at(1_136_239_445)), "02/Jan/2006:15:04:05 -0700", "a clock may be set back");
    }

    #[test]
    fn the_offset_follows_daylight_saving_time() {
        let mut clock = LocalClock::new(TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap(), CLF);
        let spring = 1_710_054_000; // 10 March 2024, 07:00 UTC
        assert_eq!(clock.text(at(spring - 1)), "10/Mar/2024:01:59:59 -0500");
        assert_eq!(clock.text(at(spring)), "10/Mar/2024:03:00:00 -0400");
        let autumn = 1_730_613_600; // 3 November 2024, 06:00 UTC
        assert_eq!(clock.text(at(autumn - 1)), "03/Nov/2024:01:59:59 -0400");
        assert_eq!(clock.text(at(autumn)), "03/Nov/2024:01:00:00 -0500");
    }

    #[test]
    fn no_time_is_too_strange_to_log() {
        let mut clock = LocalClock::new(TimeZone::UTC, CLF);
        assert_eq!(clock.text(at(0) - Duration::from_secs(5)), "01/Jan/1970:00:00:00 +0000");
        if let Some(far) = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(1 << 60)) {
            assert!(clock.text(far).contains("/9999:"), "{}", clock.text(far));
        }
    }
}
