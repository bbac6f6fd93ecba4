//! When connections may be opened, if they are opened at a rate.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::plan::nanoseconds;

/// The turns to open a connection, which all threads take from one row.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Nanoseconds between two turns.
    distance: u64,
    /// When the next turn is, in nanoseconds since the run began.
    next: AtomicU64,
}

impl Turns {
    /// Turns for `rate` connections a second.
    pub(crate) fn new(rate: f64) -> Turns {
        let distance = Duration::try_from_secs_f64(1.0 / rate).map_or(u64::MAX, nanoseconds);
        Turns { distance, next: AtomicU64::new(0) }
    }

    /// Takes the next turn for a connection that was to be opened from `since` on, and returns when it is. That may be in
    /// the past, so that a thread that was kept from running catches up. No turn is before `since`, so those that nobody
    /// needed do not come all at once later.
    pub(crate) fn take(&self, since: u64) -> u64 {
        let after = |turn: u64| turn.max(since).saturating_add(self.distance);
        // Threads share nothing but the number itself, so no order among other data is needed.
        let taken = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |turn| Some(after(turn)));
        taken.unwrap_or_default().max(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    #[test]
    fn turns_are_at_even_distances_whoever_takes_them() {
        let turns = Turns::new(1000.0);
        let taken: Vec<u64> = (0..50).map(|_| turns.take(0)).collect();
        assert_eq!(taken, (0..50).map(|turn| turn * MILLISECOND).collect::<Vec<u64>>());
        let turns = Turns::new(1000.0);
        let mut taken: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..500).map(|_| turns.take(0)).collect::<Vec<u64>>())).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("the turns of a thread")).collect()
        });
        taken.sort_unstable();
        assert_eq!(taken, (0..2000).map(|turn| turn * MILLISECOND).collect::<Vec<u64>>());
    }

    #[test]
    fn turns_that_nobody_needed_do_not_come_at_once() {
        let turns = Turns::new(1000.0);
        let second = 1000 * MILLISECOND;
        turns.take(0);
        assert_eq!([0; 3].map(|_| turns.take(second)), [0, 1, 2].map(|turn| second + turn * MILLISECOND));
        assert_eq!(turns.take(0), second + 3 * MILLISECOND);
        let slow = Turns::new(0.5);
        assert_eq!([0; 3].map(|since| slow.take(since) / second), [0, 2, 4]);
    }
}
