//! How long something took, counted by length in buckets that the loop fills and any thread reads.

use std::time::Duration;

use crate::statistics::Counter;

/// How many bounds there are. One more bucket takes what is longer than all of them.
const BOUNDS: usize = 20;

/// Durations as the loop counts them. The two halves are read one after the other, so the total can be a turn ahead.
#[derive(Debug, Default)]
pub struct DurationCounter {
    buckets: [Counter; BOUNDS + 1],
    nanoseconds: Counter,
}

impl DurationCounter {
    /// Counts a duration. Only the loop's thread may call this.
    pub(crate) fn record(&self, duration: Duration) {
        let index = Durations::BOUNDS.partition_point(|bound| *bound < duration);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.add(1);
        }
        self.nanoseconds.add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    #[expect(clippy::indexing_slicing, reason = "the arrays have the same length")]
    pub(crate) fn snapshot(&self) -> Durations {
        Durations {
            buckets: std::array::from_fn(|i| self.buckets[i].get()),
            total: Duration::from_nanos(self.nanoseconds.get()),
        }
    }
}

/// Durations counted by length: how many were no longer than each of the [`BOUNDS`](Durations::BOUNDS).
///
/// ```
/// use parrot_server::Durations;
///
/// let none = Durations::default();
/// assert_eq!((none.count(), none.percentile(50)), (0, None));
/// assert_eq!(none.buckets().len(), Durations::BOUNDS.len() + 1);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Durations {
    buckets: [u64; BOUNDS + 1],
    total: Duration,
}

impl Durations {
    /// The longest duration that each bucket takes, from 5 microseconds to 10 seconds. The last bucket has no bound.
    pub const BOUNDS: [Duration; BOUNDS] = [
        Duration::from_micros(5),
        Duration::from_micros(10),
        Duration::from_micros(25),
        Duration::from_micros(50),
        Duration::from_micros(100),
        Duration::from_micros(250),
        Duration::from_micros(500),
        Duration::from_millis(1),
        Duration::from_micros(2500),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(25),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_millis(250),
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_millis(2500),
        Duration::from_secs(5),
        Duration::from_secs(10),
    ];

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of all durations.
    pub fn total(&self) -> Duration {
        self.total
    }

    /// How many durations each bucket has, shortest first. A bucket does not include the ones before it.
    pub fn buckets(&self) -> &[u64] {
        &self.buckets
    }

    /// What was counted since an earlier snapshot of the same durations.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "the arrays have the same length")]
    pub fn since(&self, earlier: &Durations) -> Durations {
        Durations {
            buckets: std::array::from_fn(|i| self.buckets[i].saturating_sub(earlier.buckets[i])),
            total: self.total.saturating_sub(earlier.total),
        }
    }

    /// The bound of the bucket that the longest of the shortest `percent` of all durations is in. So at least that part of
    /// them was no longer, unless the duration is longer than all bounds. `None` if nothing was counted.
    pub fn percentile(&self, percent: u8) -> Option<Duration> {
        // In whole numbers, because rounding would bring in the system's library of mathematics.
        let rank = (u128::from(self.count()) * u128::from(percent.min(100))).div_ceil(100).max(1);
        let mut below = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            below += u128::from(*bucket);
            if below >= rank {
                return Durations::BOUNDS.get(index).or(Durations::BOUNDS.last()).copied();
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(durations: &[Duration]) -> DurationCounter {
        let counter = DurationCounter::default();
        for duration in durations {
            counter.record(*duration);
        }
        counter
    }

    #[test]
    fn a_bucket_includes_its_bound() {
        assert!(Durations::BOUNDS.is_sorted());
        for (index, bound) in Durations::BOUNDS.into_iter().enumerate() {
            let counted = counted(&[bound, bound + Duration::from_nanos(1)]).snapshot();
            assert_eq!(counted.buckets()[index..=index + 1], [1, 1], "{bound:?}");
            assert_eq!(counted.count(), 2);
            assert_eq!(counted.total(), 2 * bound + Duration::from_nanos(1));
        }
    }

    #[test]
    fn a_percentile_is_the_bound_above() {
        let (short, long) = (Duration::from_micros(7), Duration::from_millis(80));
        let counted = counted(&[&[short; 98][..], &[long; 2]].concat()).snapshot();
        assert_eq!(counted.percentile(50), Some(Duration::from_micros(10)));
        assert_eq!(counted.percentile(98), Some(Duration::from_micros(10)));
        assert_eq!(counted.percentile(99), Some(Duration::from_millis(100)));
        assert_eq!(counted.percentile(100), Some(Duration::from_millis(100)));
        assert_eq!(self::counted(&[Duration::MAX]).snapshot().percentile(50), Some(Duration::from_secs(10)));
    }

    #[test]
    fn a_difference_has_what_was_counted_since() {
        let counter = counted(&[Duration::from_millis(3)]);
        let before = counter.snapshot();
        counter.record(Duration::from_millis(30));
        let since = counter.snapshot().since(&before);
        assert_eq!((since.count(), since.total()), (1, Duration::from_millis(30)));
        assert_eq!(since.percentile(100), Some(Duration::from_millis(50)));
    }
}
