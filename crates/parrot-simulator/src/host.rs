//! The simulated host: time, the peers, and what the checks have to know.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parrot_kqueue::Signal;
use parrot_server::CloseReason;
use parrot_server::simulation::{Event, Shared, Target};

use crate::check::{Failure, Promise};
use crate::coverage::{Coverage, Point};
use crate::dice::{Dice, Purpose};
use crate::link::Link;
use crate::memory::Memory;
use crate::plan::{MICROSECOND, MILLISECOND, Plan, SECOND};

/// A listening socket.
#[derive(Debug, Default)]
pub(crate) struct Port {
    pub(crate) closed: bool,
    pub(crate) backlog: VecDeque<usize>,
    pub(crate) watch: Option<Target>,
    /// The time of the turn in which accepting had a reason to pause.
    pub(crate) paused: Option<u64>,
    pub(crate) accepts_in_turn: u32,
    /// The last turn in which it had an event.
    pub(crate) event_turn: u64,
    /// In this turn the loop was told that no connection waits.
    pub(crate) seen_empty: bool,
}

/// What happens at a time, beside the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    Connect(usize),
    Write(usize),
    Read(usize),
    Reset(usize),
    /// The network gives a connection up.
    TimeOut(usize),
    /// Both ways to end the server: by its signal, or by a handle.
    Stop,
    StopAgain,
    SecondSignal,
    Signal {
        hangup: bool,
    },
    Wake,
}

/// Why the loop's next event comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From this connection: the event may be acted on.
    Link(usize),
    Port,
    /// The first signal, or a handle, ends the server with this event; or a second signal does.
    Server,
    /// Of a connection that is no more.
    Stale,
}

/// A fault of a loop, played by the host: the loop behaves as if the fault were its own. `cargo xtask mutants` has the whole
/// list, in the loop's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlantedFault {
    /// The number of bytes that a send took is ignored.
    IgnoresShortSends,
    /// A receive that would block closes the connection.
    ClosesWhenEmpty,
    /// Write interest is never taken back.
    KeepsWriteInterest,
}

/// What the loop's counters should say.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) set_up_failures: u64,
    pub(crate) accept_failures: u64,
    pub(crate) accept_pauses: u64,
    pub(crate) messages: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) bytes_discarded: u64,
    pub(crate) retries: u64,
    pub(crate) turns: u64,
    pub(crate) closed: [u64; CloseReason::ALL.len()],
}

/// The simulated system. It implements [`Host`](parrot_server::simulation::Host).
#[derive(Debug)]
pub struct SimulatedHost {
    pub(crate) plan: Plan,
    /// Where the dice for all purposes come from.
    source: Dice,
    /// Time, and the order of events.
    pub(crate) dice: Dice,
    /// How often it was asked whether each fault that is no connection's happens.
    asked: [u64; Point::COUNT],
    epoch: Instant,
    /// Nanoseconds since the epoch.
    pub(crate) time: u64,
    /// What the loop was last told the time is.
    pub(crate) turn_time: u64,
    /// The same a turn before.
    pub(crate) turn_time_before: u64,
    /// The time has not been read since the wait.
    pub(crate) awoken: bool,
    /// When the last wait returned.
    pub(crate) woke_at: u64,
    calendar: BinaryHeap<Reverse<(u64, Action)>>,
    pub(crate) links: Vec<Link>,
    /// The links whose sockets the server has.
    pub(crate) open: Vec<usize>,
    pub(crate) ports: Vec<Port>,
    pub(crate) batch: VecDeque<(Event, Origin)>,
    /// What events of closed connections named.
    pub(crate) old_targets: VecDeque<Target>,
    pub(crate) shared: Arc<Shared>,

    /// Signals that end the server, posted and not told yet, by kind.
    pub(crate) pending_stops: [u64; 2],
    pub(crate) pending_signals: Vec<(bool, u64)>,
    pub(crate) pending_wake: bool,
    /// When the drain ends, `u64::MAX` if it has no time-out; `None` before it.
    pub(crate) drain_deadline: Option<u64>,
    pub(crate) drained_by: Option<Signal>,
    /// The number of the signal that ends the server at once.
    pub(crate) killed: Option<i32>,
    pub(crate) hangups: u64,

    pub(crate) tally: Tally,
    pub(crate) calls_in_turn: u32,
    /// Raised by all that is worth a turn.
    pub(crate) work: u64,
    pub(crate) work_before: u64,
    /// The last wait has waited.
    pub(crate) waited: bool,
    /// The time of the last turn that had an event.
    pub(crate) last_event: Option<u64>,
    pub(crate) idle_turns: u32,
    /// How often a wait was ended by nothing but the loop's own deadline, with nothing else to come.
    pub(crate) lonely_waits: u32,
    pub(crate) last_call_closed: bool,
    /// The time of the turn in which accept last failed for a reason that may last, until a close or an event gives
    /// reason to try again.
    pub(crate) last_pause: Option<u64>,
    /// A connection was closed since, so that accepting has to go on.
    pub(crate) closed_since_pause: bool,
    /// The time of the turn in which memory for a connection last lacked.
    pub(crate) last_shortage: Option<u64>,
    /// The time of the turn in which memory for a buffer was last refused.
    pub(crate) last_refused: Option<u64>,
    /// The loop looks for the end of the connection for which it was refused.
    pub(crate) looks_for_end: bool,
    /// Connections that were called in this turn without an event or a time-out of their own.
    pub(crate) leftovers: usize,
    /// Connections that were closed as idle in this turn.
    pub(crate) idle_closes: usize,
    /// Connections that were closed in this turn because they were idle or because the drain was over.
    pub(crate) idle_or_late: u64,
    /// How many connections waited for a buffer after the last turn, and how many were left over.
    pub(crate) waiting: usize,
    pub(crate) unfinished: usize,
    pub(crate) lent: usize,
    /// How often a connection was sent all it was owed.
    pub(crate) buffers_returned: u64,
    pub(crate) capacity: usize,

    pub(crate) coverage: Coverage,
    pub(crate) failure: Option<Failure>,
    pub(crate) trace: Option<Vec<String>>,
    /// What the host does to the loop to see that it is caught.
    pub(crate) planted: Option<PlantedFault>,
}

/// Notes a line of the trace, if one is wanted; otherwise its words are not even put together.
macro_rules! note {
    ($host:expr, $($words:tt)*) => {
        if $host.trace.is_some() {
            let line = format!($($words)*);
            $host.note(line);
        }
    };
}
pub(crate) use note;

impl SimulatedHost {
    pub(crate) fn new(
        plan: Plan,
        source: Dice,
        shared: Arc<Shared>,
        trace: bool,
        planted: Option<PlantedFault>,
    ) -> SimulatedHost {
        let lacks = Point::BufferNoMemory;
        Memory::begin(source.of(Purpose::Fault(lacks as usize), 0), plan.rates.of(lacks));
        let links = plan.peers.iter().enumerate();
        let links = links.map(|(index, peer)| Link::new(peer.script.clone(), &source, index)).collect();
        let mut host = SimulatedHost {
            links,
            ports: (0..plan.listeners).map(|_| Port::default()).collect(),
            dice: source.of(Purpose::World, 0),
            source,
            asked: [0; Point::COUNT],
            epoch: Instant::now(),
            time: 0,
            turn_time: 0,
            turn_time_before: 0,
            awoken: true,
            woke_at: 0,
            calendar: BinaryHeap::new(),
            open: Vec::new(),
            batch: VecDeque::new(),
            old_targets: VecDeque::new(),
            shared,
            pending_stops: [0; 2],
            pending_signals: Vec::new(),
            pending_wake: false,
            drain_deadline: None,
            drained_by: None,
            killed: None,
            hangups: 0,
            tally: Tally::default(),
            calls_in_turn: 0,
            work: 0,
            work_before: 0,
            waited: true,
            last_event: None,
            idle_turns: 0,
            lonely_waits: 0,
            last_call_closed: false,
            last_pause: None,
            closed_since_pause: false,
            last_shortage: None,
            last_refused: None,
            looks_for_end: false,
            leftovers: 0,
            idle_closes: 0,
            idle_or_late: 0,
            waiting: 0,
            unfinished: 0,
            lent: 0,
            buffers_returned: 0,
            capacity: usize::MAX,
            coverage: Coverage::default(),
            failure: None,
            trace: trace.then(Vec::new),
            planted,
            plan,
        };
        for index in host.plan.kept_peers() {
            host.schedule(host.links[index].plan.connect_at, Action::Connect(index));
        }
        for (at, hangup) in host.plan.signals.clone() {
            host.schedule(at, Action::Signal { hangup });
        }
        for at in host.plan.wakes.clone() {
            host.schedule(at, Action::Wake);
        }
        if let Some(at) = host.plan.ending.at {
            host.schedule(at, Action::Stop);
        }
        host
    }

    pub(crate) fn instant(&self) -> Instant {
        self.epoch + Duration::from_nanos(self.time)
    }

    pub(crate) fn schedule(&mut self, after: u64, action: Action) {
        self.calendar.push(Reverse((self.time + after, action)));
    }

    /// When something happens next.
    pub(crate) fn next_action(&self) -> Option<u64> {
        self.calendar.peek().map(|Reverse((at, _))| *at)
    }

    pub(crate) fn note(&mut self, line: String) {
        let stamp = format!("{:>6} {:>12.3} us  {line}", self.tally.turns, self.time as f64 / MICROSECOND as f64);
        if let Some(trace) = &mut self.trace {
            trace.push(stamp);
        }
    }

    /// The first promise broken is the one that counts.
    pub(crate) fn broken(&mut self, promise: Promise, seen: impl FnOnce() -> String) {
        if self.failure.is_none() {
            let failure = Failure { promise, seen: seen(), turn: self.tally.turns };
            note!(self, "BROKEN: {failure}");
            self.failure = Some(failure);
        }
    }

    /// Whether this fault happens now.
    #[inline]
    pub(crate) fn fault(&mut self, fault: Point) -> bool {
        let happens = self.decides(fault);
        if happens {
            self.happened(fault);
        }
        happens
    }

    /// Whether this fault happens to a connection in the call that is made for it.
    #[inline]
    pub(crate) fn fault_of(&mut self, index: usize, fault: Point) -> bool {
        // The decisions that are no connection's have numbers below.
        let happens = self.throw(fault, (index as u64 + 1) << 32 | u64::from(self.links[index].calls));
        if happens {
            self.happened(fault);
        }
        happens
    }

    /// Whether this fault is to happen now, if it can.
    pub(crate) fn decides(&mut self, fault: Point) -> bool {
        let asked = &mut self.asked[fault as usize];
        *asked += 1;
        let asked = *asked;
        self.throw(fault, asked)
    }

    #[inline]
    fn throw(&self, fault: Point, which: u64) -> bool {
        let rate = self.plan.rates.of(fault);
        rate > 0 && self.source.of(Purpose::Fault(fault as usize), which).chance(rate)
    }

    pub(crate) fn happened(&mut self, fault: Point) {
        self.coverage.count(fault);
        self.work += 1;
        note!(self, "  fault: {}", fault.name());
    }

    /// A call takes time, and meanwhile the peers go on.
    pub(crate) fn pass_time(&mut self) {
        self.time += 100 + self.dice.below(900);
        if self.fault(Point::ClockJumps) {
            self.time += self.dice.pick([MILLISECOND, 300 * MILLISECOND, 7 * SECOND]);
        }
        if let Some((at, long)) = self.plan.stopped
            && self.time >= at
        {
            self.plan.stopped = None;
            self.time += long;
            self.coverage.count(Point::ProcessStopped);
            note!(self, "the process was stopped for {} us", long / MICROSECOND);
        }
        self.run_due();
    }

    pub(crate) fn run_due(&mut self) {
        while let Some(Reverse((at, _))) = self.calendar.peek()
            && *at <= self.time
        {
            if let Some(Reverse((_, action))) = self.calendar.pop() {
                self.act(action);
            }
        }
    }
}
