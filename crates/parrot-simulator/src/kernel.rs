//! The simulated kernel: time, the peers, and what the checks have to know.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use parrot_kqueue::{Signal, Token};
use parrot_server::CloseReason;
use parrot_server::system::{Event, Shared};

use crate::check::{Failure, Promise};
use crate::coverage::{Coverage, Point};
use crate::dice::Dice;
use crate::link::{Link, Stage};
use crate::peer::Finish;
use crate::plan::{MICROSECOND, MILLISECOND, Plan, SECOND};

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) open: bool,
    pub(crate) backlog: VecDeque<usize>,
    pub(crate) watch: Option<Token>,
    /// The time of the turn in which accepting had a reason to pause.
    pub(crate) paused: Option<u64>,
    pub(crate) accepts_in_turn: u64,
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

/// The kernel. It implements [`System`](parrot_server::system::System); a test may put a wrapper around it that lies.
#[derive(Debug)]
pub struct Kernel {
    pub(crate) plan: Plan,
    pub(crate) dice: Dice,
    epoch: Instant,
    /// Nanoseconds since the epoch.
    pub(crate) time: u64,
    /// What the loop was last told the time is.
    pub(crate) turn_time: u64,
    calendar: BinaryHeap<Reverse<(u64, Action)>>,
    pub(crate) links: Vec<Link>,
    /// The links whose sockets the server has.
    pub(crate) open: Vec<usize>,
    pub(crate) ports: Vec<Port>,
    pub(crate) batch: VecDeque<(Event, Origin)>,
    /// Tokens of connections that are no more.
    pub(crate) old_tokens: VecDeque<Token>,
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
    log_used: u64,
    log_freed_at: u64,

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
    pub(crate) lent: usize,
    /// How often a connection was sent all it was owed.
    pub(crate) buffers_returned: u64,
    pub(crate) capacity: usize,

    pub(crate) coverage: Coverage,
    pub(crate) failure: Option<Failure>,
    pub(crate) trace: Option<Vec<String>>,
}

/// Notes a line of the trace, if one is wanted; otherwise its words are not even put together.
macro_rules! note {
    ($kernel:expr, $($words:tt)*) => {
        if $kernel.trace.is_some() {
            let line = format!($($words)*);
            $kernel.note(line);
        }
    };
}
pub(crate) use note;

impl Kernel {
    pub(crate) fn new(plan: Plan, dice: Dice, shared: Arc<Shared>, trace: bool) -> Kernel {
        let mut kernel = Kernel {
            links: plan.peers.iter().map(|peer| Link::new(peer.clone().unwrap_or_else(|| absent(&plan)))).collect(),
            ports: (0..plan.listeners)
                .map(|_| Port { open: true, backlog: VecDeque::new(), watch: None, paused: None, accepts_in_turn: 0 })
                .collect(),
            dice,
            epoch: Instant::now(),
            time: 0,
            turn_time: 0,
            calendar: BinaryHeap::new(),
            open: Vec::new(),
            batch: VecDeque::new(),
            old_tokens: VecDeque::new(),
            shared,
            pending_stops: [0; 2],
            pending_signals: Vec::new(),
            pending_wake: false,
            drain_deadline: None,
            drained_by: None,
            killed: None,
            hangups: 0,
            log_used: 0,
            log_freed_at: 0,
            tally: Tally::default(),
            calls_in_turn: 0,
            work: 0,
            work_before: 0,
            waited: true,
            last_event: None,
            idle_turns: 0,
            lonely_waits: 0,
            last_call_closed: false,
            lent: 0,
            buffers_returned: 0,
            capacity: usize::MAX,
            coverage: Coverage::default(),
            failure: None,
            trace: trace.then(Vec::new),
            plan,
        };
        for index in kernel.plan.kept_peers() {
            kernel.schedule(kernel.links[index].plan.connect_at, Action::Connect(index));
        }
        for (at, hangup) in kernel.plan.signals.clone() {
            kernel.schedule(at, Action::Signal { hangup });
        }
        for at in kernel.plan.wakes.clone() {
            kernel.schedule(at, Action::Wake);
        }
        if let Some(at) = kernel.plan.ending.at {
            kernel.schedule(at, Action::Stop);
        }
        kernel
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
        let rate = self.plan.rates.of(fault);
        if rate == 0 || !self.dice.chance(rate) {
            return false;
        }
        self.coverage.count(fault);
        self.work += 1;
        note!(self, "  fault: {}", fault.name());
        true
    }

    /// A call takes time, and meanwhile the peers go on.
    pub(crate) fn pass_time(&mut self) {
        self.time += 100 + self.dice.below(900);
        if self.fault(Point::ClockJumps) {
            self.time += self.dice.pick([MILLISECOND, 300 * MILLISECOND, 7 * SECOND]);
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

    fn act(&mut self, action: Action) {
        match action {
            Action::Connect(link) => self.connect(link),
            Action::Write(link) => self.write(link),
            Action::Read(link) => self.read(link),
            Action::Reset(link) => self.break_link(link, Errno::ECONNRESET),
            Action::TimeOut(link) => {
                let errno = self.dice.pick([Errno::ETIMEDOUT, Errno::ETIMEDOUT, Errno::EHOSTUNREACH]);
                self.break_link(link, errno);
            }
            Action::Stop => self.stop(),
            Action::StopAgain => {
                self.coverage.count(Point::StopTwice);
                self.shared.stop.store(true, Ordering::Release);
                self.pending_wake = true;
            }
            Action::SecondSignal => self.pending_stops[self.plan.ending.second_signal as usize] += 1,
            Action::Signal { hangup } => self.pending_signals.push((hangup, 1)),
            Action::Wake => self.pending_wake = true,
        }
    }

    /// Tells the server to end, as planned.
    pub(crate) fn stop(&mut self) {
        let ending = self.plan.ending.clone();
        note!(self, "the server is told to stop");
        if ending.by_signal {
            self.pending_stops[ending.signal as usize] += 1;
        } else {
            self.shared.stop.store(true, Ordering::Release);
            self.pending_wake = true;
        }
        if let Some(after) = ending.second_after {
            self.schedule(after, Action::SecondSignal);
        }
        if let Some(after) = ending.again_after {
            self.schedule(after, Action::StopAgain);
        }
    }

    fn connect(&mut self, index: usize) {
        let port_index = index % self.ports.len();
        let port = &mut self.ports[port_index];
        let link = &mut self.links[index];
        if !port.open {
            link.stage = Stage::Lost;
            self.coverage.count(Point::ConnectRefused);
            note!(self, "peer {index} is refused");
            return;
        }
        if port.backlog.len() >= self.plan.backlog {
            self.coverage.count(Point::BacklogFull);
            link.attempts += 1;
            if link.attempts < 4 {
                self.schedule(MILLISECOND, Action::Connect(index));
            } else {
                link.stage = Stage::Lost;
            }
            return;
        }
        port.backlog.push_back(index);
        link.stage = Stage::Backlog;
        let (gap, reset_after) = (link.plan.write_gap, link.plan.reset_after);
        note!(self, "peer {index} ({}) connects: {:?}", self.links[index].plan.kind, self.links[index].plan);
        let gap = self.dice.between(gap);
        self.schedule(gap, Action::Write(index));
        self.schedule(0, Action::Read(index));
        if let Some(after) = reset_after {
            self.schedule(after, Action::Reset(index));
        }
    }

    /// Whether the peer can still do anything on its connection.
    fn peer_lives(&self, index: usize) -> bool {
        let link = &self.links[index];
        matches!(link.stage, Stage::Backlog | Stage::Open) && !link.broken && !link.vanished && !link.peer_closed
    }

    fn write(&mut self, index: usize) {
        if !self.peer_lives(index) || self.links[index].peer_ended {
            return;
        }
        let link = &mut self.links[index];
        link.writer_waits = false;
        let left = link.plan.bytes - link.written;
        let room = link.plan.receive_room - link.waiting();
        if left == 0 || (link.saw_end && link.plan.lockstep) {
            return self.finish(index);
        }
        if room == 0 || (link.plan.lockstep && link.written > link.read) {
            link.writer_waits = true;
            return;
        }
        let (from, range, gap) = (link.written, link.plan.write, link.plan.write_gap);
        let n = self.dice.between(range).min(left).min(room);
        let gap = self.dice.between(gap);
        let link = &mut self.links[index];
        link.written += n;
        link.edge = true;
        if let Some(urgent) = link.plan.urgent_at.filter(|at| (from..from + n).contains(at)) {
            link.urgent = Some(urgent);
        }
        note!(self, "peer {index} writes {n} at {from}");
        self.schedule(gap, Action::Write(index));
    }

    fn finish(&mut self, index: usize) {
        let link = &mut self.links[index];
        match link.plan.finish {
            Finish::HalfClose => self.end_stream(index),
            Finish::ReadThenClose | Finish::Stay if link.saw_end => self.end_stream(index),
            Finish::ReadThenClose if link.read == link.written => self.end_stream(index),
            Finish::ReadThenClose | Finish::Stay => link.writer_waits = true,
            Finish::Linger => {}
            Finish::Close if link.sent > link.read => self.break_link(index, Errno::ECONNRESET),
            Finish::Close => {
                link.peer_closed = true;
                self.end_stream(index);
            }
            Finish::Reset => self.break_link(index, Errno::ECONNRESET),
            Finish::Vanish => {
                link.vanished = true;
                note!(self, "peer {index} vanishes");
                let after = self.dice.pick([0, MILLISECOND, 50 * MILLISECOND, SECOND]);
                if after > 0 {
                    self.schedule(after, Action::TimeOut(index));
                }
            }
        }
    }

    fn end_stream(&mut self, index: usize) {
        let link = &mut self.links[index];
        link.peer_ended = true;
        link.edge = true;
        note!(self, "peer {index} ends its stream at {}", self.links[index].written);
    }

    fn read(&mut self, index: usize) {
        if !self.peer_lives(index) || self.links[index].plan.read.1 == 0 {
            return;
        }
        let link = &mut self.links[index];
        let waiting = link.sent - link.read;
        if waiting == 0 {
            link.reader_waits = !link.shut;
            if link.shut && !link.saw_end {
                link.saw_end = true;
                note!(self, "peer {index} sees the end at {}", self.links[index].read);
                self.wake_writer(index);
            }
            return;
        }
        let (range, gap) = (link.plan.read, link.plan.read_gap);
        let n = self.dice.between(range).min(waiting);
        let gap = self.dice.between(gap);
        let link = &mut self.links[index];
        link.read += n;
        note!(self, "peer {index} reads {n}");
        if self.links[index].read == self.links[index].written {
            self.wake_writer(index);
        }
        self.schedule(gap, Action::Read(index));
    }

    /// The peer may write, or finish, again.
    pub(crate) fn wake_writer(&mut self, index: usize) {
        if std::mem::take(&mut self.links[index].writer_waits) {
            let gap = self.dice.between(self.links[index].plan.write_gap);
            self.schedule(gap, Action::Write(index));
        }
    }

    /// The peer may read again, or see the end.
    pub(crate) fn wake_reader(&mut self, index: usize) {
        if std::mem::take(&mut self.links[index].reader_waits) {
            let gap = self.dice.between(self.links[index].plan.read_gap);
            self.schedule(gap, Action::Read(index));
        }
    }

    /// The connection fails under the server's socket.
    fn break_link(&mut self, index: usize, errno: Errno) {
        let link = &mut self.links[index];
        if !matches!(link.stage, Stage::Backlog | Stage::Open) || link.broken {
            return;
        }
        note!(self, "peer {index} is gone: {errno}");
        let link = &mut self.links[index];
        link.broken = true;
        link.error = Some(errno);
        link.edge = true;
        if link.stage == Stage::Backlog {
            self.coverage.count(Point::ResetInBacklog);
        }
        if link.waiting() > 0 {
            self.coverage.count(Point::ResetWithBytes);
            // Some systems throw away what was not received, others do not.
            if self.dice.chance(128) {
                let link = &mut self.links[index];
                link.written = link.received;
            }
        }
    }

    /// The log takes a line, or drops it when its writer is behind; either way nobody waits.
    pub(crate) fn log(&mut self) {
        let interval = self.plan.log_interval;
        let freed = (self.time - self.log_freed_at) / interval;
        self.log_freed_at += freed * interval;
        self.log_used = self.log_used.saturating_sub(freed);
        if self.log_used >= self.plan.log_lines {
            self.coverage.count(Point::LogDropped);
        } else {
            self.log_used += 1;
        }
    }
}

/// Stands for a peer that takes no part.
fn absent(plan: &Plan) -> crate::peer::PeerPlan {
    crate::peer::PeerPlan::draw(
        crate::peer::Scene::Usual,
        plan.config.max_output.max(160) as u64,
        0,
        &mut Dice::seeded(0, 0),
    )
}
