//! All faults of a listener, and which of them a connection has.

use std::time::Duration;

use super::conflict::{FaultConflict, check};
use super::kind::{Fault, FaultKind, FaultRule};
use super::latency::Delays;
use super::random::Random;
use super::share::Share;
use super::stream::Faults;

/// What a random number is for. The numbers of different purposes do not depend on each other.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// Whether a connection or datagram has the fault.
    Choice,
    /// What the fault leaves open, such as a delay within its jitter.
    Detail,
}

/// The faults of a listener and the seed that they are chosen by.
///
/// Every choice depends on the seed and on the number of the connection or datagram alone. Another fault in the plan
/// changes none of the choices for this one. Numbers begin with 1.
///
/// ```
/// use parrot_conn::fault::{Fault, FaultPlan, FaultRule, Share};
///
/// let reset = Fault::Reset(parrot_conn::fault::After::Bytes(0));
/// let some = FaultRule { fault: reset, probability: Share::from_percent(20).ok_or("more than all")? };
/// let plan = FaultPlan::new(1512, [some])?;
/// let chosen: Vec<u64> = (1..=20).filter(|number| plan.connection(*number).is_some()).collect();
/// assert_eq!(chosen, (1..=20).filter(|number| plan.connection(*number).is_some()).collect::<Vec<u64>>());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultPlan {
    seed: u64,
    rules: Vec<FaultRule>,
}

/// What happens to a connection when it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It is accepted after this time, which is often zero.
    Accepted(Duration),
    /// It is reset at once.
    Refused,
}

impl FaultPlan {
    /// Makes a plan of these faults.
    ///
    /// # Errors
    ///
    /// The conflict, if two of them contradict each other or one cannot be followed.
    pub fn new(seed: u64, rules: impl IntoIterator<Item = FaultRule>) -> Result<FaultPlan, FaultConflict> {
        let rules: Vec<FaultRule> = rules.into_iter().collect();
        check(&rules)?;
        Ok(FaultPlan { seed, rules })
    }

    /// The seed of all choices.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The faults, in the order in which they were given.
    pub fn rules(&self) -> &[FaultRule] {
        &self.rules
    }

    /// The faults of a stream connection, or `None` if it has none and is to be served like any other. One that is only
    /// accepted late has faults too, which do nothing, so that their [kinds](Faults::kinds) name it.
    pub fn connection(&self, number: u64) -> Option<Box<Faults>> {
        let is_chosen = |rule: &&FaultRule| rule.fault.kind().has_probability() && self.hits(rule, number);
        let mut chosen = self.rules.iter().filter(is_chosen).map(|rule| &rule.fault).peekable();
        chosen.peek()?;
        Some(Box::new(Faults::new(chosen, |kind| self.random(kind, Purpose::Detail, number))))
    }

    /// What happens to a connection when it arrives.
    pub fn arrival(&self, number: u64) -> Arrival {
        let mut delay = Duration::ZERO;
        for rule in &self.rules {
            match &rule.fault {
                Fault::Refuse(first) if number <= *first => return Arrival::Refused,
                Fault::AcceptDelay(delays) if self.hits(rule, number) => {
                    let mut random = self.random(FaultKind::AcceptDelay, Purpose::Detail, number);
                    delay = Delays::new(delays, Duration::ZERO).draw(&mut random);
                }
                _ => {}
            }
        }
        Arrival::Accepted(delay)
    }

    /// Whether a connection or datagram is chosen for a fault.
    pub(super) fn hits(&self, rule: &FaultRule, number: u64) -> bool {
        self.chooses(rule.fault.kind(), rule.probability, number)
    }

    pub(super) fn chooses(&self, kind: FaultKind, share: Share, number: u64) -> bool {
        share.hits(&mut self.random(kind, Purpose::Choice, number))
    }

    /// The numbers of one fault for one connection or datagram.
    pub(super) fn random(&self, kind: FaultKind, purpose: Purpose, number: u64) -> Random {
        Random::of(self.seed, (kind as u64) << 1 | purpose as u64, number)
    }
}
