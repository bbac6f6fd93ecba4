//! Random times between messages, as independent users leave them (a Poisson process).

use crate::random::mixed;

/// Messages between two sums that are kept.
const BLOCK: u64 = 64;

/// The places of messages in a Poisson process of one message in a unit of time.
///
/// The place of a message is the sum of all gaps before it. Each gap is a function of its number, so only the sum of
/// every 64th is kept, which is a byte for eight messages.
#[derive(Debug, Clone)]
pub(super) struct Gaps {
    seed: u64,
    /// The place of the last message before each block that was reached.
    blocks: Vec<f64>,
    /// The number of the last message that was reached, and the sum of the gaps of its block up to it.
    reached: (u64, f64),
}

impl Gaps {
    /// The process of a seed. Only the first messages are reached.
    pub(super) fn new(seed: u64) -> Gaps {
        let gaps = Gaps { seed, blocks: vec![0.0], reached: (0, 0.0) };
        Gaps { reached: (0, gaps.gap(0)), ..gaps }
    }

    /// Makes the place of message number `number` known, if the ones before it are.
    pub(super) fn reach(&mut self, number: u64) {
        let reached = self.blocks.len() as u64;
        if number / BLOCK >= reached {
            self.blocks.push(self.place(reached * BLOCK - 1));
        }
        let before = if number.is_multiple_of(BLOCK) { 0.0 } else { self.within_block(number - 1) };
        self.reached = (number, before + self.gap(number));
    }

    /// The place of message number `number`, which was reached.
    pub(super) fn place(&self, number: u64) -> f64 {
        let block = usize::try_from(number / BLOCK).ok().and_then(|block| self.blocks.get(block)).copied();
        block.unwrap_or(f64::MAX) + self.within_block(number)
    }

    /// The sum of the gaps of its block up to message number `number`. That of the last one reached is known, so that
    /// going from message to message takes one gap each.
    fn within_block(&self, number: u64) -> f64 {
        match self.reached {
            (reached, sum) if reached == number => sum,
            _ => (number / BLOCK * BLOCK..=number).map(|number| self.gap(number)).sum(),
        }
    }

    /// The gap before message number `number`. It is exponentially distributed with a mean of 1.
    fn gap(&self, number: u64) -> f64 {
        let bits = mixed(self.seed, number);
        // From 0 to 1, without 0.
        let uniform = ((bits >> 11) + 1) as f64 / (1u64 << 53) as f64;
        -uniform.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(seed: u64, count: u64) -> Vec<f64> {
        let mut gaps = Gaps::new(seed);
        (0..count)
            .map(|number| {
                gaps.reach(number);
                gaps.place(number)
            })
            .collect()
    }

    #[test]
    fn places_are_the_sums_of_all_gaps_before() {
        let (gaps, mut sum) = (Gaps::new(3), 0.0);
        for (number, place) in (0..).zip(places(3, 1000)) {
            sum += gaps.gap(number);
            assert!((place - sum).abs() < 1e-9, "{number}: {place} for {sum}");
        }
    }

    #[test]
    fn a_place_stays_the_same_when_later_ones_are_reached() {
        let places = places(3, 200);
        let mut gaps = Gaps::new(3);
        (0..200).for_each(|number| gaps.reach(number));
        assert!((0..).zip(places).all(|(number, place)| gaps.place(number) == place));
    }

    #[test]
    fn counts_in_a_time_vary_as_those_of_a_poisson_process() {
        let places = places(7, 100_000);
        let mut counts = vec![0.0; 9_000];
        for place in places {
            if let Some(count) = counts.get_mut((place / 10.0) as usize) {
                *count += 1.0;
            }
        }
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        let variance = counts.iter().map(|count| (count - mean) * (count - mean)).sum::<f64>() / counts.len() as f64;
        // Both are 10. Messages at even distances would have a variance of 0.
        assert!((mean - 10.0).abs() < 0.2 && (variance - 10.0).abs() < 0.7, "{mean} and {variance}");
    }

    #[test]
    fn another_seed_is_another_process() {
        assert!(places(1, 100).iter().zip(&places(2, 100)).all(|(one, other)| one != other));
    }
}
