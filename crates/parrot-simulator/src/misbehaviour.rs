//! Stories in which the server misbehaves on request, and which promises hold nevertheless.
//!
//! What a fault permits is checked against a model in `parrot-conn`. Here the loop is checked: the bytes that it sends are
//! the right ones in order, memory and the work of a turn are bounded, it does not spin, nothing is forgotten once it
//! waits without a timeout, each end has its cause, and a drain ends in time.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use parrot_server::CloseReason;
use parrot_server::fault::{After, Chances, Fault, FaultKind, FaultPlan, FaultRule, Share};

use crate::connection::Connection;
use crate::coverage::Point;
use crate::dice::Dice;
use crate::host::SimulatedHost;
use crate::time::{MICROSECOND, MILLISECOND};

/// Draws faults that go together, or `None` if the first one contradicts itself.
pub(crate) fn draw(dice: &mut Dice) -> Option<FaultPlan> {
    let seed = dice.below(1000);
    let count = dice.pick([1, 1, 2, 3]);
    let mut plan = None;
    let mut rules: Vec<FaultRule> = Vec::new();
    for _ in 0..count {
        let probability = if dice.chance(64) { Share::from_percent(50).unwrap_or(Share::ALL) } else { Share::ALL };
        let fault = draw_fault(dice);
        let probability = if fault.kind().has_probability() { probability } else { Share::ALL };
        let with = rules.iter().cloned().chain([FaultRule { fault, probability }]);
        if let Ok(together) = FaultPlan::new(seed, with) {
            rules = together.rules().to_vec();
            plan = Some(together);
        }
    }
    plan
}

fn draw_fault(dice: &mut Dice) -> Fault {
    let time = |dice: &mut Dice| {
        let unit = dice.pick([MICROSECOND, 100 * MICROSECOND, MILLISECOND, 300 * MILLISECOND]);
        Duration::from_nanos(dice.between((1, 20)) * unit)
    };
    let delays = |dice: &mut Dice| {
        let delay = time(dice);
        let few = Share::from_percent(20).unwrap_or(Share::ALL);
        let most = Share::from_percent(80).unwrap_or(Share::ALL);
        let distribution = dice.chance(64).then(|| Chances::new([(delay, most), (time(dice), few)])).flatten();
        distribution.unwrap_or_else(|| Chances::always(delay))
    };
    let bytes = |dice: &mut Dice| dice.between((0, 3000));
    let size = |number: u64| NonZeroU32::new(number as u32).unwrap_or(NonZeroU32::MIN);
    let share = |dice: &mut Dice| Share::from_percent(dice.pick([5, 30, 100])).unwrap_or(Share::ALL);
    match dice.below(16) {
        0 => Fault::Latency { delay: delays(dice), jitter: time(dice) },
        1 => Fault::Bandwidth(NonZeroU64::new(dice.pick([1000, 100_000, 10_000_000])).unwrap_or(NonZeroU64::MIN)),
        2 => {
            let least = dice.between((1, 40));
            let most = least + dice.below(100);
            let delay = if dice.chance(128) { Duration::ZERO } else { time(dice) };
            Fault::Slice { least: size(least), most: size(most), delay }
        }
        3 => Fault::LimitData(bytes(dice)),
        4 => Fault::Timeout(if dice.chance(128) { None } else { Some(time(dice)) }),
        5 => Fault::Lifetime(time(dice)),
        6 if dice.chance(128) => Fault::Reset(After::Bytes(bytes(dice))),
        6 => Fault::Reset(After::Time(time(dice))),
        7 => Fault::Stall { after: bytes(dice), length: if dice.chance(64) { None } else { Some(time(dice)) } },
        8 => Fault::SlowClose(time(dice)),
        9 => Fault::HalfCloseFirst,
        10 => Fault::Refuse(dice.between((1, 4))),
        11 => Fault::Loss(share(dice)),
        12 => Fault::Duplicate(share(dice)),
        13 => Fault::Reorder(share(dice)),
        14 => Fault::Corrupt(share(dice)),
        _ => Fault::AcceptDelay(delays(dice)),
    }
}

impl SimulatedHost {
    /// Whether the server misbehaves in this story.
    pub(crate) fn misbehaves(&self) -> bool {
        self.plan.faults.is_some()
    }

    /// Whether the loop serves the connection as faults permit, so that only they say when.
    pub(crate) fn has_faults(&self, connection: &Connection) -> bool {
        !connection.faults.is_empty()
    }

    /// Counts a connection that arrives, and finds out which faults it has.
    pub(crate) fn choose_faults(&mut self, index: usize) {
        let Some(plan) = &self.plan.faults else { return };
        self.arrivals += 1;
        let is_refused = plan.arrival(self.arrivals) == parrot_server::fault::Arrival::Refused;
        let faults = plan.connection(self.arrivals).map(|faults| faults.kinds().to_vec()).unwrap_or_default();
        if !faults.is_empty() && !is_refused {
            self.coverage.count(Point::Faulty);
        }
        (self.connections[index].faults, self.connections[index].is_refused) = (faults, is_refused);
    }

    /// The reasons that a connection with faults may be closed for now, beside a call that failed.
    pub(crate) fn reasons_of_faults(&self, connection: &Connection) -> Vec<CloseReason> {
        let has = |kind: FaultKind| connection.faults.contains(&kind);
        let late = self.drain_deadline.is_some_and(|due| due <= self.turn_time);
        let ended = connection.end_received || connection.end_seen;
        // A timeout holds when the peer has ended, and only a drain ends it then.
        let draining = self.drain_deadline.is_some();
        let may_finish = ended && (draining || !has(FaultKind::Timeout));
        [
            (has(FaultKind::LimitData), CloseReason::LimitDataFault),
            (has(FaultKind::Timeout), CloseReason::TimeoutFault),
            (has(FaultKind::Lifetime), CloseReason::LifetimeFault),
            (has(FaultKind::Reset), CloseReason::ResetFault),
            (has(FaultKind::HalfCloseFirst), CloseReason::HalfCloseFault),
            (may_finish, CloseReason::PeerFinished),
            (ended && draining, CloseReason::Drained),
            (self.is_idle(connection), CloseReason::IdleTimeout),
            (late, CloseReason::DrainTimeout),
        ]
        .into_iter()
        .filter_map(|(may_be, reason)| may_be.then_some(reason))
        .collect()
    }

    /// Whether the faults of a connection only delay, so that nothing is left of it once the loop waits without a timeout.
    pub(crate) fn only_delays(&self, connection: &Connection) -> bool {
        connection.faults.iter().all(|kind| match kind {
            FaultKind::Stall => self.plan.faults.as_ref().is_some_and(|plan| {
                let for_ever = |rule: &FaultRule| matches!(rule.fault, Fault::Stall { length: None, .. });
                !plan.rules().iter().any(for_ever)
            }),
            FaultKind::Latency | FaultKind::Bandwidth | FaultKind::Slice => true,
            FaultKind::SlowClose | FaultKind::AcceptDelay => true,
            _ => false,
        })
    }
}
