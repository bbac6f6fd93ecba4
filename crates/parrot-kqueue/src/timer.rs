//! Timers as a source of events.

use std::time::{Duration, SystemTime};

/// The name of a timer within its queue, chosen by the program.
///
/// ```
/// use parrot_kqueue::TimerId;
///
/// const TICK: TimerId = TimerId(1);
/// assert_eq!(TICK.0, 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId(
    /// The number; all of its values are the program's to use.
    pub usize,
);

/// When a timer fires.
///
/// Times are kept as finely as the system can and rounded up where it is coarser; a timer never fires early. NetBSD,
/// OpenBSD and DragonFly go by the ticks of their clock, 10 ms long unless `kern.hz` says otherwise, and fire with the
/// one after the time has come (`filt_timercompute` in NetBSD sys/kern/kern_event.c, `filt_timeradd` in OpenBSD's,
/// `tvtohz_high` in DragonFly's).
///
/// A timer whose time has come while nobody waited fires in the next wait, and
/// [`Event::count`](crate::Event::count) says how often it would have fired.
///
/// ```
/// use parrot_kqueue::Schedule;
/// use std::time::{Duration, SystemTime};
///
/// let heartbeat = Schedule::Every(Duration::from_secs(1));
/// let deadline = Schedule::After(Duration::from_millis(250));
/// let midnight = Schedule::At(SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800));
/// # let _ = (heartbeat, deadline, midnight);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Again and again, this long after the registration and after each other. Zero is `InvalidInput`.
    Every(Duration),
    /// Once, this long after the registration; then the registration is gone. Zero fires in the next wait, or a tick or
    /// two later where the system goes by ticks.
    After(Duration),
    /// Once, when the wall clock reads this; then the registration is gone. A time in the past fires in the next
    /// wait. DragonFly has no such timer and answers `Unsupported`. FreeBSD cuts the time to what it can count, 68 years
    /// from 1970 (`timer2sbintime` in sys/kern/kern_event.c).
    #[cfg_attr(docsrs, doc(cfg(not(target_os = "dragonfly"))))]
    At(SystemTime),
}
