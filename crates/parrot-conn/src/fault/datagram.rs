//! What happens to a single datagram.

use std::time::Duration;

use super::kind::{Fault, FaultKind};
use super::latency::Delays;
use super::plan::{FaultPlan, Purpose};

/// What happens to the answer to one datagram. [`Held`](super::Held) makes it late.
///
/// ```
/// use parrot_conn::fault::{Fault, FaultPlan, Share};
///
/// let plan = FaultPlan::new(1512, [Fault::Loss(Share::from_percent(10).ok_or("more than all")?).into()])?;
/// let lost = (1..=1000).filter(|number| plan.datagram(*number).copies == 0).count();
/// assert!((50..200).contains(&lost), "{lost} of 1,000");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// How often the answer is sent: not at all, once or twice.
    pub copies: u8,
    /// How much later it is sent.
    pub delay: Duration,
    /// Whether it leaves behind the one after it.
    pub reordered: bool,
    /// The number that chooses which bit is wrong, if one is.
    pub corruption: Option<u64>,
}

impl Fate {
    /// The fate of a datagram that nothing happens to.
    pub const PLAIN: Fate = Fate { copies: 1, delay: Duration::ZERO, reordered: false, corruption: None };

    /// Whether the answer is corrupted.
    pub fn is_corrupted(&self) -> bool {
        self.corruption.is_some()
    }

    /// Whether the answer goes out at once.
    pub fn is_prompt(&self) -> bool {
        self.delay.is_zero() && !self.reordered
    }

    /// Makes the bit wrong that the fate says, if it says one. A datagram without bytes stays as it is.
    pub fn corrupt(&self, payload: &mut [u8]) {
        let Some(number) = self.corruption else { return };
        let bits = (payload.len() as u64).saturating_mul(8);
        let Some(bit) = number.checked_rem(bits) else { return };
        if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|place| payload.get_mut(place)) {
            *byte ^= 1 << (bit % 8);
        }
    }
}

impl FaultPlan {
    /// Whether any fault of the plan happens to datagrams, so that they need a [`Fate`].
    pub fn is_for_datagrams(&self) -> bool {
        self.rules().iter().any(|rule| rule.fault.kind().is_of_datagrams())
    }

    /// What happens to the answer to a datagram. A lost one has no other fault.
    pub fn datagram(&self, number: u64) -> Fate {
        let mut fate = Fate::PLAIN;
        for rule in self.rules() {
            let hits = |share| self.chooses(rule.fault.kind(), share, number);
            match &rule.fault {
                Fault::Loss(share) if hits(*share) => return Fate { copies: 0, ..Fate::PLAIN },
                Fault::Duplicate(share) if hits(*share) => fate.copies = 2,
                Fault::Reorder(share) => fate.reordered = hits(*share),
                Fault::Corrupt(share) if hits(*share) => {
                    fate.corruption = Some(self.random(FaultKind::Corrupt, Purpose::Detail, number).draw());
                }
                Fault::Latency { delay, jitter } if self.hits(rule, number) => {
                    let mut random = self.random(FaultKind::Latency, Purpose::Detail, number);
                    fate.delay = Delays::new(delay, *jitter).draw(&mut random);
                }
                _ => {}
            }
        }
        fate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Share;

    fn plan<const N: usize>(faults: [Fault; N]) -> FaultPlan {
        FaultPlan::new(1512, faults.map(Into::into)).unwrap()
    }

    #[test]
    fn each_fault_happens_as_often_as_it_says() {
        let percent = |n| Share::from_percent(n).unwrap();
        let plan = plan([
            Fault::Duplicate(percent(1)),
            Fault::Reorder(percent(5)),
            Fault::Loss(percent(10)),
            Fault::Corrupt(percent(20)),
        ]);
        let fates: Vec<Fate> = (1..=100_000).map(|number| plan.datagram(number)).collect();
        let times = |has: fn(&Fate) -> bool| fates.iter().filter(|fate| has(fate)).count();
        // A lost datagram has no other fault, so nine tenths are left for these.
        assert!(times(|fate| fate.copies == 0).abs_diff(10_000) < 600);
        assert!(times(|fate| fate.copies == 2).abs_diff(900) < 200);
        assert!(times(|fate| fate.reordered).abs_diff(4500) < 400);
        assert!(times(Fate::is_corrupted).abs_diff(18_000) < 800);
    }

    #[test]
    fn exactly_one_bit_of_a_corrupted_datagram_is_wrong() {
        let plan = plan([Fault::Corrupt(Share::ALL)]);
        let mut bits = [false; 32];
        for number in 1..=1000 {
            let mut payload = [0_u8; 4];
            plan.datagram(number).corrupt(&mut payload);
            let wrong = u32::from_le_bytes(payload);
            assert_eq!(wrong.count_ones(), 1);
            bits[wrong.trailing_zeros() as usize] = true;
            plan.datagram(number).corrupt(&mut []);
        }
        assert_eq!(bits, [true; 32], "any bit can be wrong");
    }

    #[test]
    fn another_fault_does_not_change_which_datagrams_are_lost() {
        let share = Share::from_percent(30).unwrap();
        let lost =
            |plan: FaultPlan| (1..1000).filter(|number| plan.datagram(*number).copies == 0).collect::<Vec<u64>>();
        let alone = lost(plan([Fault::Loss(share)]));
        assert_eq!(lost(plan([Fault::Duplicate(share), Fault::Corrupt(share), Fault::Loss(share)])), alone);
    }
}
