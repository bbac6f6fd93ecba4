//! Warnings that a peer could cause again and again, so that the log shows one in ten seconds.

use std::time::Duration;

use super::moment::Moment;

/// The least time between two warnings of the same kind.
const INTERVAL: Duration = Duration::from_secs(10);

/// When a warning was last shown.
#[derive(Debug, Default)]
pub(super) struct Seldom(Option<Moment>);

impl Seldom {
    /// Whether to show the warning now.
    pub(super) fn is_due(&mut self, now: Moment) -> bool {
        let due = self.0.is_none_or(|last| now.saturating_duration_since(last) >= INTERVAL);
        if due {
            self.0 = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_shown_once_in_ten_seconds() {
        let (mut seldom, start) = (Seldom::default(), Moment::default());
        let shown = (0..25).filter(|second| seldom.is_due(start + Duration::from_secs(*second)));
        assert_eq!(shown.collect::<Vec<u64>>(), [0, 10, 20]);
    }
}
