//! A timer's schedule in the units of the system.

use crate::{Schedule, failure::Failure};
use nix::sys::event::FilterFlag;
use std::time::{Duration, SystemTime};

/// The unit of nanoseconds. `None` where there are only milliseconds (DragonFly sys/sys/event.h has no units).
///
/// NetBSD (from 10) and OpenBSD (from 7.4) number their units 0 to 3, and nix does not have them. The others have bits
/// (sys/event.h of each). NetBSD and OpenBSD accept the finer units and round them up to ticks.
const NANOSECONDS: Option<FilterFlag> = if cfg!(target_os = "dragonfly") {
    None
} else if cfg!(any(target_os = "netbsd", target_os = "openbsd")) {
    Some(FilterFlag::from_bits_retain(3))
} else {
    Some(FilterFlag::from_bits_retain(if cfg!(target_vendor = "apple") { 4 } else { 8 }))
};

/// The flag of a time of the wall clock. It is NOTE_ABSTIME on FreeBSD, NetBSD and OpenBSD (sys/event.h of each), which
/// nix does not have, and NOTE_ABSOLUTE on macOS. DragonFly has neither.
const ABSOLUTE: Option<FilterFlag> = if cfg!(target_os = "dragonfly") {
    None
} else {
    Some(FilterFlag::from_bits_retain(if cfg!(target_vendor = "apple") { 0x8 } else { 0x10 }))
};

/// The longest timer, 34 years. FreeBSD and XNU add the duration to the time since the machine started. With far longer
/// durations the sum overflows, and the timer fires at once (`timer2sbintime` and `filt_timerstart` in FreeBSD
/// sys/kern/kern_event.c).
const LONGEST: Duration = Duration::from_secs(1 << 30);

/// The reason why a system has no memory for another timer (`filt_timerattach` in sys/kern/kern_event.c of each).
pub(super) const LIMIT: &str = if cfg!(target_os = "netbsd") {
    "the whole system has as many timers in kqueues as NetBSD allows (4,096, kq_calloutmax in sys/kern/kern_event.c), \
     and only another kernel raises that, so use fewer"
} else if cfg!(target_os = "openbsd") {
    "there are as many timers in kqueues as OpenBSD allows (1,024 of a process, kq_usereventsmax in \
     sys/kern/kern_event.c, and before 7.8 4,096 of the whole system), and only another kernel raises that, so use fewer"
} else {
    "the whole system has as many timers in kqueues as kern.kq_calloutmax allows, so raise it with sysctl"
};

/// `fflags` and `data` of a timer.
pub(super) fn wanted(schedule: Schedule) -> Result<(FilterFlag, isize), Failure> {
    match schedule {
        Schedule::Every(duration) | Schedule::After(duration) => Ok(in_units(duration.min(LONGEST))),
        Schedule::At(time) => {
            let Some(absolute) = ABSOLUTE else {
                return Err(Failure::Unsupported(
                    "this system has no timers that go by the wall clock, so set one for the time that is left",
                ));
            };
            let (unit, data) = in_units(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
            Ok((absolute | unit, data))
        }
    }
}

/// A duration as a unit and a number of it, rounded up and at least one, because NetBSD refuses zero.
///
/// Whole milliseconds are passed as such, which every release of every system understands.
pub(super) fn in_units(duration: Duration) -> (FilterFlag, isize) {
    let nanoseconds = duration.as_nanos().max(1);
    if let Some(unit) = NANOSECONDS
        && !nanoseconds.is_multiple_of(1_000_000)
        && let Ok(nanoseconds) = isize::try_from(nanoseconds)
    {
        return (unit, nanoseconds);
    }
    (FilterFlag::empty(), isize::try_from(nanoseconds.div_ceil(1_000_000)).unwrap_or(isize::MAX))
}
