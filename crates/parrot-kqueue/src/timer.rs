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
    /// The number. The program may use every value.
    pub usize,
);

/// When a timer fires.
///
/// A timer is as precise as the system, rounded up, and never fires early. On NetBSD, OpenBSD and DragonFly it fires
/// with the next tick of the clock after its time. A tick is 10 ms unless `kern.hz` is set to another rate
/// (`filt_timercompute` in NetBSD sys/kern/kern_event.c, `filt_timeradd` in OpenBSD's, `tvtohz_high` in DragonFly's).
///
/// A timer that was due before a wait fires in that wait, and [`Event::count`](crate::Event::count) is how often it
/// would have fired.
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
    /// Repeatedly, this long after the registration and after each other. Zero is `InvalidInput`.
    Every(Duration),
    /// Once, this long after the registration, which is then gone. Zero fires in the next wait, or a tick or two later
    /// on the systems that go by ticks.
    After(Duration),
    /// Once, when the wall clock reads this, and then the registration is gone. A time in the past fires in the next
    /// wait. DragonFly has no such timer, so there this is `Unsupported`. FreeBSD cuts the time to what it can count,
    /// 68 years from 1970 (`timer2sbintime` in sys/kern/kern_event.c).
    #[cfg_attr(docsrs, doc(cfg(not(target_os = "dragonfly"))))]
    At(SystemTime),
}
