//! Timers: one timerfd for each clock, armed to the earliest deadline of a heap. Thanks to the timerfd, the queue
//! itself becomes readable when a timer is due.

use super::{
    filter::{EmulatedFilter, Held},
    mark::Mark,
};
use crate::{
    Change, Event, Filter, Schedule, Source, TimerId,
    change::{Action, Wanted},
    failure::Failure,
};
use nix::sys::epoll::Epoll;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    io,
    os::fd::OwnedFd,
    time::{Duration, SystemTime},
};

/// The timers of one queue.
#[derive(Default)]
pub(super) struct Timers {
    /// Timers that count from their registration.
    counting: Option<Clock>,
    /// Timers that go by the wall clock.
    wall: Option<Clock>,
}

impl EmulatedFilter for Timers {
    fn apply(&mut self, outer: &Epoll, change: &Change<'_>) -> Result<(), Failure> {
        let Source::Timer(id) = change.source else { return Err(Failure::NotFound) };
        if let Action::Add(addition) = &change.action {
            let Wanted::Schedule(schedule) = addition.wanted else { return Ok(()) };
            let is_wall = matches!(schedule, Schedule::At(_));
            let (clock, other) =
                if is_wall { (&mut self.wall, &mut self.counting) } else { (&mut self.counting, &mut self.wall) };
            let clock = match clock {
                Some(clock) => clock,
                None => clock.insert(Clock::new(outer, is_wall)?),
            };
            clock.add(id, schedule, Held::new(addition))?;
            // A timer of this name on the other clock is replaced.
            return match other.as_mut().map(|other| other.delete(id)) {
                None | Some(Ok(()) | Err(Failure::NotFound)) => Ok(()),
                Some(failed) => failed,
            };
        }
        let mut clocks = [&mut self.counting, &mut self.wall].into_iter().flatten();
        let clock = clocks.find(|clock| clock.timers.contains_key(&id)).ok_or(Failure::NotFound)?;
        match change.action {
            Action::Delete => clock.delete(id),
            _ => clock.set_enabled(id, matches!(change.action, Action::Enable)),
        }
    }

    fn collect(&mut self, index: u32, room: usize, list: &mut Vec<Event>) -> io::Result<()> {
        let clock = if index == WALL { &mut self.wall } else { &mut self.counting };
        clock.as_mut().map_or(Ok(()), |clock| clock.collect(room, list))
    }
}

const COUNTING: u32 = 0;
const WALL: u32 = 1;

/// Nanoseconds on the clock of these timers.
type Instant = u64;

/// The timers of one clock.
struct Clock {
    descriptor: OwnedFd,
    clock: ClockId,
    timers: HashMap<TimerId, Timer>,
    /// Deadlines. An entry with another generation than its timer's is left over from before a change. It is removed
    /// when it comes up.
    heap: BinaryHeap<Reverse<(Instant, u64, TimerId)>>,
    next_generation: u64,
    /// The deadline that the timerfd is armed to, 0 if to none. Unknown once it has expired.
    armed: Option<Instant>,
}

struct Timer {
    held: Held,
    deadline: Instant,
    period: Option<u64>,
    generation: u64,
}

impl Clock {
    fn new(outer: &Epoll, is_wall: bool) -> Result<Self, Failure> {
        let (clock, index, timerfd_clock) = if is_wall {
            (ClockId::Realtime, WALL, TimerfdClockId::Realtime)
        } else {
            (ClockId::Monotonic, COUNTING, TimerfdClockId::Monotonic)
        };
        let descriptor = timerfd_create(timerfd_clock, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        outer.add(&descriptor, Mark::shared(Filter::Timer, index).interest())?;
        Ok(Clock {
            descriptor,
            clock,
            timers: HashMap::new(),
            heap: BinaryHeap::new(),
            next_generation: 0,
            armed: Some(0),
        })
    }

    fn add(&mut self, id: TimerId, schedule: Schedule, held: Held) -> Result<(), Failure> {
        let (deadline, period) = match schedule {
            Schedule::Every(period) => (self.now().saturating_add(nanoseconds(period)), Some(nanoseconds(period))),
            Schedule::After(delay) => (self.now().saturating_add(nanoseconds(delay)), None),
            Schedule::At(time) => (nanoseconds(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()), None),
        };
        self.timers.insert(id, Timer { held, deadline, period, generation: 0 });
        self.queue_up(id);
        self.arm()
    }

    fn delete(&mut self, id: TimerId) -> Result<(), Failure> {
        self.timers.remove(&id).ok_or(Failure::NotFound)?;
        self.arm()
    }

    /// A disabled timer keeps counting. If it is enabled past its deadline, it fires at once with all that it has
    /// missed.
    fn set_enabled(&mut self, id: TimerId, enabled: bool) -> Result<(), Failure> {
        self.timers.get_mut(&id).ok_or(Failure::NotFound)?.held.enabled = enabled;
        self.queue_up(id);
        self.arm()
    }

    fn collect(&mut self, room: usize, list: &mut Vec<Event>) -> io::Result<()> {
        let now = self.now();
        let full = list.len() + room;
        while list.len() < full {
            let Some(id) = self.next_due(now) else { break };
            self.heap.pop();
            let Some(timer) = self.timers.get_mut(&id) else { continue };
            let missed = timer.period.map_or(0, |period| (now - timer.deadline) / period);
            let count = missed.saturating_add(1);
            list.push(Event::new(timer.held.token, Filter::Timer).with_data(i64::try_from(count).unwrap_or(i64::MAX)));
            timer.deadline = timer.deadline.saturating_add(timer.period.unwrap_or(0).saturating_mul(count));
            if timer.held.is_gone_after_firing() {
                self.timers.remove(&id);
            } else {
                self.queue_up(id);
            }
        }
        // Once it is set again, the timerfd is no longer readable.
        self.armed = None;
        self.arm().map_err(Into::into)
    }

    /// The timer at the head of the heap, if its time has come.
    fn next_due(&mut self, now: Instant) -> Option<TimerId> {
        self.drop_left_over();
        self.heap.peek().and_then(|&Reverse((deadline, _, id))| (deadline <= now).then_some(id))
    }

    /// Enters a timer into the heap at its deadline, unless it is disabled. Its earlier entry is left over.
    fn queue_up(&mut self, id: TimerId) {
        let Some(timer) = self.timers.get_mut(&id) else { return };
        self.next_generation += 1;
        timer.generation = self.next_generation;
        if timer.held.enabled {
            self.heap.push(Reverse((timer.deadline, timer.generation, id)));
        }
        if self.heap.len() > 2 * self.timers.len() + 64 {
            let timers = &self.timers;
            self.heap.retain(|Reverse((_, generation, id))| is_current(timers, *id, *generation));
        }
    }

    fn drop_left_over(&mut self) {
        while let Some(&Reverse((_, generation, id))) = self.heap.peek()
            && !is_current(&self.timers, id, generation)
        {
            self.heap.pop();
        }
    }

    /// Arms the timerfd to the earliest deadline. Most changes leave that deadline as it is, and cost no call.
    fn arm(&mut self) -> Result<(), Failure> {
        self.drop_left_over();
        // Zero disarms, so a deadline at the beginning of time is moved by a nanosecond.
        let deadline = self.heap.peek().map_or(0, |&Reverse((deadline, ..))| deadline.max(1));
        if self.armed == Some(deadline) {
            return Ok(());
        }
        let it_value = Timespec {
            tv_sec: i64::try_from(deadline / NANOSECONDS).unwrap_or(i64::MAX),
            tv_nsec: (deadline % NANOSECONDS) as _,
        };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        self.armed = None;
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::ABSTIME, &Itimerspec { it_interval, it_value })?;
        self.armed = Some(deadline);
        Ok(())
    }

    fn now(&self) -> Instant {
        let now = clock_gettime(self.clock);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        seconds.saturating_mul(NANOSECONDS).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
    }
}

const NANOSECONDS: u64 = 1_000_000_000;

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn is_current(timers: &HashMap<TimerId, Timer>, id: TimerId, generation: u64) -> bool {
    timers.get(&id).is_some_and(|timer| timer.generation == generation)
}
