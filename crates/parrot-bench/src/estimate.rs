//! The median of a sample and its confidence interval, without an assumption about the distribution.

use serde::{Deserialize, Serialize};

use crate::results::Summary;

/// How often the interval of a median contains the true one, at least.
pub(crate) const CONFIDENCE: f64 = 0.95;

/// The median of a sample, and between which two of its values the true median lies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Estimate {
    /// How many values the sample has.
    pub(crate) count: usize,
    pub(crate) median: f64,
    /// The ends of the interval, or `None` if the sample is too small for one.
    pub(crate) interval: Option<(f64, f64)>,
}

impl Estimate {
    /// Estimates the median of what `values` were drawn from. Returns `None` if there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Estimate> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let median = Summary::of(values.iter().copied())?.median;
        let ends = rank(values.len()).map(|rank| (rank - 1, values.len() - rank));
        let interval = ends.and_then(|(low, high)| Some((*values.get(low)?, *values.get(high)?)));
        Some(Estimate { count: values.len(), median, interval })
    }

    /// Whether all of the interval is above `value`.
    pub(crate) fn is_above(&self, value: f64) -> bool {
        self.interval.is_some_and(|(low, _)| low > value)
    }

    /// Whether all of the interval is below `value`.
    pub(crate) fn is_below(&self, value: f64) -> bool {
        self.interval.is_some_and(|(_, high)| high < value)
    }
}

/// The rank, from 1, of the value that begins the interval among `count` sorted values. It ends at the same rank from
/// the other side. Returns `None` if there are too few values for an interval that is sure enough.
///
/// The number of values below the true median is binomial with probability ½, whatever their distribution. So the
/// interval of rank r misses the true median with probability 2 P(B < r) (J.-Y. Le Boudec, Performance Evaluation of
/// Computer and Communication Systems, 2010, theorem 2.1; W. J. Conover, Practical Nonparametric Statistics, 1999, 3.2).
fn rank(count: usize) -> Option<usize> {
    let all = count as f64;
    // The logarithm of P(B = k), because 2^-n is too small for a large sample.
    let mut logarithm = -all * std::f64::consts::LN_2;
    let (mut below, mut rank) = (0.0, 0);
    loop {
        below += f64::exp(logarithm);
        if 2.0 * below > 1.0 - CONFIDENCE || rank >= count {
            return (rank > 0).then_some(rank);
        }
        rank += 1;
        logarithm += ((all - rank as f64 + 1.0) / rank as f64).ln();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranks_are_those_of_published_tables() {
        let ranks = [6, 8, 9, 12, 16, 20, 40].map(rank);
        assert_eq!(ranks, [1, 1, 2, 3, 4, 6, 14].map(Some));
        assert_eq!([0, 1, 5].map(rank), [None; 3], "no interval of so few values is sure enough");
    }

    #[test]
    fn large_samples_have_the_ranks_of_the_normal_approximation() {
        let normal = |count: f64| (count / 2.0 - 1.959_964 * count.sqrt() / 2.0).round();
        for count in [400, 5000, 100_000] {
            let (exact, normal) = (rank(count).expect("a rank") as f64, normal(count as f64));
            assert!((exact - normal).abs() <= 1.0, "{count}: {exact} and {normal}");
        }
    }

    #[test]
    fn an_estimate_is_the_middle_and_two_of_the_values() {
        let forty = Estimate::of((1..=40).rev().map(f64::from)).expect("values");
        assert_eq!(forty, Estimate { count: 40, median: 20.5, interval: Some((14.0, 27.0)) });
        let five = Estimate::of([3.0, 1.0, 2.0, 5.0, 4.0]).expect("values");
        assert_eq!(five, Estimate { count: 5, median: 3.0, interval: None });
        assert_eq!(Estimate::of([]), None);
    }

    #[test]
    fn one_wild_value_moves_neither_median_nor_interval_far() {
        let calm: Vec<f64> = (1..=39).map(f64::from).collect();
        let wild = Estimate::of(calm.iter().copied().chain([1e9])).expect("values");
        assert_eq!((wild.median, wild.interval), (20.5, Some((14.0, 27.0))));
    }

    #[test]
    fn an_interval_is_above_or_below_a_value_as_a_whole() {
        let estimate = Estimate { count: 6, median: 1.05, interval: Some((1.02, 1.1)) };
        assert!(estimate.is_above(1.0) && !estimate.is_above(1.03) && estimate.is_below(1.2));
        let unsure = Estimate { interval: None, ..estimate };
        assert!(!unsure.is_above(0.0) && !unsure.is_below(9.0));
    }
}
