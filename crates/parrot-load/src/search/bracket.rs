//! Which rate to try next. A limit lies between the highest rate that held and the lowest that failed.
//!
//! A measurement can be wrong, because something else disturbed it. So a newer one counts more than older ones that
//! contradict it, and both ends are measured again before the search ends.

use crate::plan::FASTEST;

/// The ends of a bracket differ by at most this share when the search ends.
pub(super) const PRECISION: f64 = 0.02;
/// How often the highest rate has to hold, and the lowest one above it has to fail.
pub(super) const TIMES: u32 = 3;
/// The lowest rate that is tried, in messages a second.
const SLOWEST: f64 = 1.0;
/// By how much the rate grows or falls while the other end is unknown.
const STRIDE: f64 = 2.0;

/// What is known of the limit.
#[derive(Debug, Clone)]
pub(super) struct Bracket {
    start: f64,
    /// Rates that held and rates that failed, with how often. All that held are below all that failed.
    held: Vec<(f64, u32)>,
    failed: Vec<(f64, u32)>,
    stride: f64,
}

impl Bracket {
    /// A search that begins at `start` messages a second.
    pub(super) fn new(start: f64) -> Bracket {
        Bracket { start: start.clamp(SLOWEST, FASTEST), held: Vec::new(), failed: Vec::new(), stride: STRIDE }
    }

    /// The highest rate that held, with how often it did.
    pub(super) fn highest_held(&self) -> Option<(f64, u32)> {
        self.held.iter().copied().max_by(|one, other| one.0.total_cmp(&other.0))
    }

    /// The lowest rate that failed, with how often it did.
    pub(super) fn lowest_failed(&self) -> Option<(f64, u32)> {
        self.failed.iter().copied().min_by(|one, other| one.0.total_cmp(&other.0))
    }

    /// The rate to measure next, `None` if nothing is left to find out.
    pub(super) fn next(&self) -> Option<f64> {
        match (self.highest_held(), self.lowest_failed()) {
            (None, None) => Some(self.start),
            (Some((held, times)), None) if held >= FASTEST => (times < TIMES).then_some(held),
            (Some((held, _)), None) => Some((held * self.stride).min(FASTEST)),
            (None, Some((failed, times))) if failed <= SLOWEST => (times < TIMES).then_some(failed),
            (None, Some((failed, _))) => Some((failed / self.stride).max(SLOWEST)),
            (Some((held, _)), Some((failed, _))) if failed > held * (1.0 + PRECISION) => {
                Some(f64::midpoint(held, failed))
            }
            (Some((held, times)), _) if times < TIMES => Some(held),
            (_, Some((failed, times))) => (times < TIMES).then_some(failed),
        }
    }

    /// Takes what a measurement at `rate` has shown.
    pub(super) fn learn(&mut self, rate: f64, held: bool) {
        let (own, others) = if held { (&mut self.held, &mut self.failed) } else { (&mut self.failed, &mut self.held) };
        others.retain(|(other, _)| if held { *other > rate } else { *other < rate });
        match own.iter_mut().find(|(known, _)| *known == rate) {
            Some((_, times)) => *times += 1,
            None => own.push((rate, 1)),
        }
        self.stride = match (self.held.is_empty(), self.failed.is_empty()) {
            // Both ends are known. If one turns out to be wrong, the limit is not far from it.
            (false, false) => 1.0 + 2.0 * PRECISION,
            _ => (self.stride * self.stride).min(STRIDE),
        };
    }
}

#[cfg(test)]
mod tests {
    use parrot_testkit::stream::Random;

    use super::*;

    /// Searches for the limit of something that `holds` at some rates. Returns the bracket and the number of steps.
    fn search(start: f64, mut holds: impl FnMut(f64) -> bool) -> (Bracket, usize) {
        let mut bracket = Bracket::new(start);
        for steps in 0..200 {
            let Some(rate) = bracket.next() else { return (bracket, steps) };
            let held = holds(rate);
            bracket.learn(rate, held);
        }
        panic!("the search does not end: {bracket:?}");
    }

    #[test]
    fn every_limit_is_enclosed_and_measured_again() {
        for limit in [1.5, 3.0, 999.0, 1000.0, 1001.0, 54_321.0, 9e6] {
            for start in [1.0, 1000.0, 1e6] {
                let (bracket, steps) = search(start, |rate| rate <= limit);
                let (held, times) = bracket.highest_held().expect("a rate that holds");
                let (failed, failures) = bracket.lowest_failed().expect("a rate that fails");
                assert!(held <= limit && limit < failed && failed <= held * 1.0201, "{limit}: {bracket:?}");
                assert!(times >= TIMES && failures >= TIMES && steps < 42, "{steps} for {limit}: {bracket:?}");
            }
        }
    }

    #[test]
    fn what_never_fails_or_never_holds_ends_the_search() {
        let (bracket, _) = search(1000.0, |_| true);
        assert_eq!((bracket.highest_held(), bracket.lowest_failed()), (Some((FASTEST, TIMES)), None));
        let (bracket, _) = search(1000.0, |_| false);
        assert_eq!((bracket.highest_held(), bracket.lowest_failed()), (None, Some((SLOWEST, TIMES))));
    }

    #[test]
    fn a_disturbed_measurement_does_not_decide() {
        for disturbed in 0..25 {
            let mut step = 0;
            let (bracket, _) = search(1000.0, |rate| {
                step += 1;
                rate <= 40_000.0 && step != disturbed
            });
            let (held, _) = bracket.highest_held().expect("a rate that holds");
            assert!((39_000.0..=40_000.0).contains(&held), "step {disturbed} failed by chance: {bracket:?}");
        }
    }

    #[test]
    fn a_limit_with_chance_in_it_is_found_as_well() {
        let mut random = Random::new(7);
        let found = (0..200).filter(|_| {
            // One measurement in ten fails for another reason.
            let (bracket, _) = search(1000.0, |rate| rate <= 40_000.0 && !random.once_in(10));
            bracket.highest_held().is_some_and(|(held, _)| (38_000.0..=40_000.0).contains(&held))
        });
        // A rate that fails by chance in the search and when it is measured again ends it too early.
        assert!(found.count() >= 190);
    }
}
