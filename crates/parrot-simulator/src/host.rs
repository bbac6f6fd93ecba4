//! The simulated host: time, the peers, and the state that the checks need.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parrot_kqueue::Signal;
use parrot_server::simulation::{Event, Shared, Target};

use crate::changes::Handles;
use crate::check::{Failure, Promise};
use crate::closes::Closing;
use crate::connection::Connection;
use crate::coverage::{Coverage, Point};
use crate::datagrams::Udp;
use crate::dice::{Dice, Purpose};
use crate::listeners::Port;
use crate::plan::Plan;
use crate::tally::Tally;
use crate::time::{MICROSECOND, MILLISECOND, SECOND};

/// Something that happens at a time of its own, beside the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    Connect(usize),
    Write(usize),
    Read(usize),
    Reset(usize),
    /// The network gives a connection up.
    TimeOut(usize),
    /// The planned stop, by a signal or by a handle.
    Stop,
    StopAgain,
    SecondSignal,
    Signal(Signal),
    Wake,
    /// A handle asks for a change of the plan.
    Change(usize),
    /// A sender sends its datagram of this number, unless it has gone on meanwhile.
    Send(u32, u32),
    /// A datagram arrives at a socket.
    Arrive(u32, u32),
}

/// The origin of an event, which decides what the loop may do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An open connection.
    Connection(usize),
    Port,
    /// A UDP socket.
    Datagrams,
    /// A signal or a handle.
    Server,
    /// A connection that is closed.
    Stale,
}

/// A fault that the host plants, so that the loop behaves as if the fault were its own. `cargo xtask mutants` has the
/// whole list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlantedFault {
    /// The number of bytes that a send took is ignored.
    IgnoresShortSends,
    /// A receive that would block closes the connection.
    ClosesWhenEmpty,
    /// Write interest is never removed.
    KeepsWriteInterest,
}

/// The simulated host. It implements [`Host`](parrot_server::simulation::Host).
#[derive(Debug)]
pub struct SimulatedHost {
    pub(crate) plan: Plan,
    /// The source of the dice for all purposes.
    source: Dice,
    /// Dice for time and the order of events.
    pub(crate) dice: Dice,
    /// How often each fault was decided that does not belong to a connection.
    asked: [u64; Point::COUNT],
    epoch: Instant,
    /// Nanoseconds since the epoch.
    pub(crate) time: u64,
    /// The time that the loop last read after a wait.
    pub(crate) turn_time: u64,
    /// The time that it read in the turn before.
    pub(crate) turn_time_before: u64,
    /// Whether the time was not read since the wait.
    pub(crate) awoken: bool,
    /// When the last wait returned.
    pub(crate) woke_at: u64,
    calendar: BinaryHeap<Reverse<(u64, Action)>>,
    pub(crate) connections: Vec<Connection>,
    /// The connections whose sockets the server holds.
    pub(crate) open: Vec<usize>,
    pub(crate) ports: Vec<Port>,
    pub(crate) udp: Udp,
    /// The connections that have arrived, refused ones included.
    pub(crate) arrivals: u64,
    pub(crate) batch: VecDeque<(Event, Origin)>,
    /// The targets of connections that were closed lately, for stale events.
    pub(crate) old_targets: VecDeque<Target>,
    pub(crate) shared: Arc<Shared>,

    /// The number of signals of each kind that end the server, posted and not delivered yet.
    pub(crate) pending_stops: BTreeMap<Signal, u64>,
    pub(crate) pending_signals: Vec<Signal>,
    pub(crate) pending_wake: bool,
    pub(crate) handles: Handles,
    /// When the drain begins, once a signal has begun its delay.
    pub(crate) leave_deadline: Option<u64>,
    /// When the drain ends, or `u64::MAX` if it has no timeout. `None` before the drain.
    pub(crate) drain_deadline: Option<u64>,
    /// The turn in which the drain began.
    pub(crate) drain_began_in: u64,
    pub(crate) drained_by: Option<Signal>,
    /// The number of the second signal, which ends the server at once.
    pub(crate) killed: Option<i32>,
    pub(crate) hangups: u64,

    pub(crate) tally: Tally,
    pub(crate) calls_in_turn: u32,
    /// A count of everything that is worth a turn.
    pub(crate) work: u64,
    pub(crate) work_before: u64,
    /// Whether the last wait blocked.
    pub(crate) waited: bool,
    /// The time of the last turn that had an event.
    pub(crate) last_event: Option<u64>,
    pub(crate) idle_turns: u32,
    /// How often a wait ended only by the loop's own deadline, with nothing else left to happen.
    pub(crate) lonely_waits: u32,
    pub(crate) last_call_closed: bool,
    /// The time of the turn in which accept last failed for a reason that may last. `None` once a close or an event
    /// gives a reason to try again.
    pub(crate) last_pause: Option<u64>,
    /// Whether a connection was closed since, so that accepting has to resume.
    pub(crate) closed_since_pause: bool,
    /// The time of the turn in which there was last no memory for a connection.
    pub(crate) last_shortage: Option<u64>,
    /// The time of the turn in which there was last no memory for a buffer.
    pub(crate) last_refused: Option<u64>,
    /// Whether the loop looks for the end of the connection that got no buffer.
    pub(crate) looks_for_end: bool,
    /// The number of connections that were called in this turn without an event or a deadline of their own.
    pub(crate) leftovers: usize,
    /// The number of connections that were closed at a deadline in this turn.
    pub(crate) deadline_closes: usize,
    /// The connection that was closed last, until its reason is known.
    pub(crate) closing: Option<Closing>,
    /// The number of connections that waited for a buffer after the last turn, and of those that were left over.
    pub(crate) waiting: usize,
    pub(crate) unfinished: usize,
    pub(crate) lent: usize,
    /// What may be lent because it was before a change of the limits.
    pub(crate) lent_before: u64,
    /// How often a buffer was given back because a connection was sent all it was owed.
    pub(crate) buffers_returned: u64,
    pub(crate) capacity: usize,

    /// The connection whose last receive is to be logged.
    pub(crate) received_from: Option<usize>,
    pub(crate) coverage: Coverage,
    pub(crate) failure: Option<Failure>,
    pub(crate) trace: Option<Vec<String>>,
    /// The fault that the host plants, to test the simulator itself.
    pub(crate) planted: Option<PlantedFault>,
}

/// Adds a line to the trace. Without a trace, the line is not even formatted.
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
        let connections = plan.peers.iter().enumerate();
        let connections = connections.map(|(index, peer)| Connection::new(peer, &plan, &source, index)).collect();
        let mut host = SimulatedHost {
            connections,
            ports: plan.ports.iter().enumerate().map(|(index, plan)| Port::new(index, *plan)).collect(),
            udp: Udp::new(&plan.udp, &source),
            arrivals: 0,
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
            pending_stops: BTreeMap::new(),
            pending_signals: Vec::new(),
            pending_wake: false,
            handles: Handles::default(),
            leave_deadline: None,
            drain_deadline: None,
            drain_began_in: 0,
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
            deadline_closes: 0,
            closing: None,
            waiting: 0,
            unfinished: 0,
            lent: 0,
            lent_before: 0,
            buffers_returned: 0,
            capacity: usize::MAX,
            received_from: None,
            coverage: Coverage::default(),
            failure: None,
            trace: trace.then(Vec::new),
            planted,
            plan,
        };
        for index in host.plan.kept_connections() {
            host.schedule(host.connections[index].plan.connect_at, Action::Connect(index));
        }
        for sender in host.plan.kept_senders() {
            host.schedule(host.plan.udp.senders[sender].script.start, Action::Send(sender as u32, 0));
        }
        for (at, signal) in host.plan.signals.clone() {
            host.schedule(at, Action::Signal(signal));
        }
        for at in host.plan.wakes.clone() {
            host.schedule(at, Action::Wake);
        }
        for change in 0..host.plan.changes.len() {
            host.schedule(host.plan.changes[change].0, Action::Change(change));
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

    /// The time of the next action.
    pub(crate) fn next_action(&self) -> Option<u64> {
        self.calendar.peek().map(|Reverse((at, _))| *at)
    }

    pub(crate) fn note(&mut self, line: String) {
        let stamp = format!("{:>6} {:>12.3} us  {line}", self.tally.turns, self.time as f64 / MICROSECOND as f64);
        if let Some(trace) = &mut self.trace {
            trace.push(stamp);
        }
    }

    /// Records a broken promise. The first one counts.
    pub(crate) fn broken(&mut self, promise: Promise, seen: impl FnOnce() -> String) {
        if self.failure.is_none() {
            let failure = Failure { promise, seen: seen(), turn: self.tally.turns };
            note!(self, "BROKEN: {failure}");
            self.failure = Some(failure);
        }
    }

    /// Decides whether this fault happens now, and counts it.
    #[inline]
    pub(crate) fn fault(&mut self, fault: Point) -> bool {
        let happens = self.decides(fault);
        if happens {
            self.happened(fault);
        }
        happens
    }

    /// Decides whether this fault happens in the current call on a connection, and counts it.
    #[inline]
    pub(crate) fn fault_of(&mut self, index: usize, fault: Point) -> bool {
        // Decisions that do not belong to a connection have lower numbers.
        let happens = self.throw(fault, (index as u64 + 1) << 32 | u64::from(self.connections[index].calls));
        if happens {
            self.happened(fault);
        }
        happens
    }

    /// Decides whether this fault is to happen now, if it can.
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

    /// Lets the time of a call pass, in which the peers go on.
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
            note!(self, "the process is stopped for {} us", long / MICROSECOND);
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
