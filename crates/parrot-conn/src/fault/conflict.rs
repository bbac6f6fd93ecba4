//! Plans that cannot be followed, and why.

use std::fmt;
use std::time::Duration;

use super::kind::{After, Fault, FaultKind, FaultRule};
use super::share::{Chances, Share};

/// Why a plan cannot be followed. Its text says which fault it is about and what to do.
///
/// ```
/// use std::time::Duration;
/// use parrot_conn::fault::{Fault, FaultPlan};
///
/// let plan = FaultPlan::new(1, [Fault::Timeout(None).into(), Fault::LimitData(10).into()]);
/// assert_eq!(
///     plan.map_err(|conflict| conflict.to_string()),
///     Err("limit-data has no effect beside timeout, because nothing is answered, so leave one of them out, or give \
///          timeout a probability below 100%".to_owned()),
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultConflict(Reason);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    /// The kind is there twice.
    Twice(FaultKind),
    /// The first has no effect, because of what the second does.
    NoEffect { kind: FaultKind, beside: FaultKind, because: &'static str },
    /// A single fault that makes no sense.
    Nonsense { kind: FaultKind, problem: &'static str },
}

impl fmt::Display for FaultConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Reason::Twice(kind) => write!(f, "{kind} is given twice, so leave one of them out"),
            Reason::NoEffect { kind, beside, because } => write!(
                f,
                "{kind} has no effect beside {beside}, because {because}, so leave one of them out, or give {beside} a \
                 probability below 100%"
            ),
            Reason::Nonsense { kind, problem } => write!(f, "{kind} {problem}"),
        }
    }
}

impl std::error::Error for FaultConflict {}

/// Whether these faults can be followed together.
pub(super) fn check(rules: &[FaultRule]) -> Result<(), FaultConflict> {
    for (place, rule) in rules.iter().enumerate() {
        let kind = rule.fault.kind();
        if let Some(problem) = nonsense(rule) {
            return Err(FaultConflict(Reason::Nonsense { kind, problem }));
        }
        if rules.iter().take(place).any(|earlier| earlier.fault.kind() == kind) {
            return Err(FaultConflict(Reason::Twice(kind)));
        }
    }
    // Two faults only exclude each other if the one always happens.
    for certain in rules.iter().filter(|rule| rule.probability == Share::ALL) {
        for rule in rules.iter().filter(|rule| rule.fault.kind() != certain.fault.kind()) {
            if let Some(because) = hides(&certain.fault, &rule.fault) {
                let (kind, beside) = (rule.fault.kind(), certain.fault.kind());
                return Err(FaultConflict(Reason::NoEffect { kind, beside, because }));
            }
        }
    }
    Ok(())
}

/// What is wrong with a fault alone.
fn nonsense(rule: &FaultRule) -> Option<&'static str> {
    if rule.probability == Share::NONE {
        return Some("has a probability of 0%: leave it out");
    }
    if rule.probability != Share::ALL && !rule.fault.kind().has_probability() {
        return Some("has no probability, because it says itself how often it happens");
    }
    match rule.fault {
        Fault::Slice { least, most, .. } if least > most => Some("goes from the smallest piece to the largest"),
        Fault::Lifetime(Duration::ZERO) => Some("needs a time above zero: reset=0 ends a connection at once"),
        Fault::Timeout(Some(Duration::ZERO))
        | Fault::Stall { length: Some(Duration::ZERO), .. }
        | Fault::SlowClose(Duration::ZERO) => Some("needs a time above zero"),
        Fault::Refuse(0) => Some("needs a number of connections from 1 up"),
        Fault::Loss(Share::NONE)
        | Fault::Duplicate(Share::NONE)
        | Fault::Reorder(Share::NONE)
        | Fault::Corrupt(Share::NONE) => Some("of 0% never happens: leave it out"),
        Fault::Latency { ref delay, jitter: Duration::ZERO } | Fault::AcceptDelay(ref delay) if is_none(delay) => {
            Some("needs a time above zero")
        }
        _ => None,
    }
}

/// Whether every one of these delays is zero.
fn is_none(delays: &Chances<Duration>) -> bool {
    delays.values().iter().all(|(delay, share)| delay.is_zero() || *share == Share::NONE)
}

/// Why a connection with the fault `certain` never shows the fault `other`, if that is so.
fn hides(certain: &Fault, other: &Fault) -> Option<&'static str> {
    let kind = other.kind();
    // Latency would still delay datagrams. For that, each listener can have faults of its own.
    if let Fault::Reset(After::Bytes(0) | After::Time(Duration::ZERO)) = certain
        && kind.is_of_streams()
    {
        return Some("every connection is reset at once");
    }
    if is_silent(certain) && shapes_answers(other) {
        return Some("nothing is answered");
    }
    if let Fault::Timeout(_) = certain {
        let waits_for_bytes = match other {
            Fault::LimitData(_) | Fault::Stall { .. } => true,
            Fault::Reset(After::Bytes(bytes)) => *bytes > 0,
            _ => false,
        };
        if waits_for_bytes {
            return Some("nothing is answered");
        }
    }
    if let (Fault::Timeout(None) | Fault::Stall { after: 0, length: None }, Fault::SlowClose(_)) = (certain, other) {
        return Some("that never ends");
    }
    if let (Fault::Loss(Share::ALL), Fault::Duplicate(_) | Fault::Reorder(_) | Fault::Corrupt(_)) = (certain, other) {
        return Some("every datagram is lost");
    }
    let comes_first = match (last_byte(certain), first_byte(other)) {
        (Some(first), Some(second)) => first < second || first == second && wins(certain, other),
        _ => false,
    };
    let ends_first = match (end_time(certain), end_time(other)) {
        (Some(first), Some(second)) => first < second || first == second && wins(certain, other),
        _ => false,
    };
    (comes_first || ends_first).then_some("that comes first")
}

/// Whether a connection with this fault sends nothing at all.
fn is_silent(fault: &Fault) -> bool {
    matches!(fault, Fault::Timeout(_) | Fault::LimitData(0) | Fault::Stall { after: 0, length: None })
}

/// Whether this fault only changes how answers leave, or waits for the first of them.
fn shapes_answers(fault: &Fault) -> bool {
    matches!(fault, Fault::Latency { .. } | Fault::Bandwidth(_) | Fault::Slice { .. } | Fault::HalfCloseFirst)
}

/// Which of two faults shows if both are due: a reset before an orderly end, and that before a stall.
fn wins(one: &Fault, other: &Fault) -> bool {
    let rank = |fault: &Fault| match fault {
        Fault::Reset(_) => 0,
        Fault::Stall { .. } => 2,
        _ => 1,
    };
    rank(one) <= rank(other)
}

/// After how many bytes nothing more is sent.
fn last_byte(fault: &Fault) -> Option<u64> {
    match fault {
        Fault::LimitData(bytes) | Fault::Reset(After::Bytes(bytes)) => Some(*bytes),
        Fault::Stall { after, length: None } => Some(*after),
        _ => None,
    }
}

/// How many bytes are sent before the fault shows.
fn first_byte(fault: &Fault) -> Option<u64> {
    match fault {
        Fault::Stall { after, .. } => Some(*after),
        fault => last_byte(fault),
    }
}

/// After which time the connection ends.
fn end_time(fault: &Fault) -> Option<Duration> {
    match fault {
        Fault::Timeout(Some(time)) | Fault::Lifetime(time) | Fault::Reset(After::Time(time)) => Some(*time),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency() -> Fault {
        Fault::Latency { delay: Chances::always(Duration::from_millis(50)), jitter: Duration::ZERO }
    }

    fn refusal<const N: usize>(faults: [Fault; N]) -> Option<String> {
        let rules: Vec<FaultRule> = faults.into_iter().map(FaultRule::from).collect();
        check(&rules).err().map(|conflict| conflict.to_string())
    }

    #[test]
    fn a_fault_that_another_one_hides_is_refused() {
        let (seconds, stall) = (Duration::from_secs, |after| Fault::Stall { after, length: None });
        for (certain, hidden, reason) in [
            (Fault::Timeout(None), latency(), "nothing is answered"),
            (Fault::Timeout(None), Fault::Reset(After::Bytes(1)), "nothing is answered"),
            (Fault::LimitData(0), latency(), "nothing is answered"),
            (stall(0), Fault::Bandwidth(std::num::NonZeroU64::MIN), "nothing is answered"),
            (stall(0), Fault::HalfCloseFirst, "nothing is answered"),
            (Fault::Timeout(None), Fault::SlowClose(seconds(2)), "that never ends"),
            (Fault::Loss(Share::ALL), Fault::Corrupt(Share::ALL), "every datagram is lost"),
            (Fault::Reset(After::Bytes(0)), Fault::Bandwidth(std::num::NonZeroU64::MIN), "is reset at once"),
            (Fault::LimitData(10), Fault::Reset(After::Bytes(11)), "that comes first"),
            (Fault::Reset(After::Bytes(10)), Fault::LimitData(10), "that comes first"),
            (Fault::LimitData(10), stall(10), "that comes first"),
            (stall(10), Fault::LimitData(11), "that comes first"),
            (Fault::Lifetime(seconds(2)), Fault::Timeout(Some(seconds(5))), "that comes first"),
            (Fault::Reset(After::Time(seconds(2))), Fault::Lifetime(seconds(2)), "that comes first"),
        ] {
            let expected = format!("{} has no effect beside {}, because", hidden.kind(), certain.kind());
            for order in [[certain.clone(), hidden.clone()], [hidden, certain]] {
                let text = refusal(order).unwrap_or_default();
                assert!(
                    text.starts_with(&expected) && text.contains(reason),
                    "{text:?} is not {expected:?} {reason:?}"
                );
            }
        }
    }

    #[test]
    fn faults_that_show_one_after_the_other_are_kept() {
        let (seconds, bytes) = (Duration::from_secs, |n| Fault::Reset(After::Bytes(n)));
        let stall = Fault::Stall { after: 10, length: Some(seconds(3)) };
        assert_eq!(refusal([stall, bytes(11)]), None);
        let late_stall = Fault::Stall { after: 10, length: None };
        assert_eq!(refusal([late_stall, latency(), Fault::HalfCloseFirst]), None);
        assert_eq!(refusal([Fault::Timeout(Some(seconds(5))), Fault::SlowClose(seconds(2))]), None);
        assert_eq!(refusal([Fault::Loss(Share::ALL), latency()]), None, "connections are late");
        assert_eq!(refusal([Fault::Timeout(None), Fault::Reset(After::Time(seconds(5)))]), None);
        assert_eq!(refusal([latency(), bytes(10), Fault::Lifetime(seconds(5)), Fault::HalfCloseFirst]), None);
    }

    #[test]
    fn a_fault_of_some_connections_hides_nothing() {
        let half = Share::from_percent(50).unwrap();
        let rules = [FaultRule { fault: Fault::Timeout(None), probability: half }, latency().into()];
        assert_eq!(check(&rules), Ok(()));
    }

    #[test]
    fn nonsense_is_refused_with_what_to_do() {
        let one = std::num::NonZeroU32::MIN;
        let two = one.saturating_add(1);
        let twice = "latency is given twice, so leave one of them out";
        assert_eq!(refusal([latency(), latency()]).as_deref(), Some(twice));
        let slice = Fault::Slice { least: two, most: one, delay: Duration::ZERO };
        let none = Fault::Latency { delay: Chances::always(Duration::ZERO), jitter: Duration::ZERO };
        assert_eq!(refusal([slice]).as_deref(), Some("slice goes from the smallest piece to the largest"));
        for (fault, probability, part) in [
            (Fault::Loss(Share::ALL), Share::from_percent(5), "says itself how often"),
            (latency(), Some(Share::NONE), "leave it out"),
            (Fault::Lifetime(Duration::ZERO), Some(Share::ALL), "reset=0 ends"),
            (Fault::Refuse(0), Some(Share::ALL), "from 1 up"),
            (Fault::Loss(Share::NONE), Some(Share::ALL), "of 0% never happens"),
            (Fault::AcceptDelay(Chances::always(Duration::ZERO)), Some(Share::ALL), "above zero"),
            (none, Some(Share::ALL), "above zero"),
        ] {
            let refused = check(&[FaultRule { fault, probability: probability.unwrap() }]);
            assert!(refused.as_ref().is_err_and(|conflict| conflict.to_string().contains(part)), "{refused:?} {part}");
        }
    }
}
