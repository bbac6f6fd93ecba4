//! One thread of a load of datagrams, an event loop over its share of the sockets.
//!
//! A datagram can be lost, doubled, overtaken or changed on its way. Each has a number, so these are told apart, and each
//! is given up after a time of its own, so that a lost one stands for nothing but itself.
//!
//! Read interest is level-triggered, since a socket with more datagrams than were asked for is reported again.

mod batch;
mod calls;
mod flight;
mod message;
mod reach;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use parrot_kqueue::{Change, Events, Kqueue, Token};
use rustix::io::Errno;

use self::batch::Batch;
use self::flight::{Arrival, Flight};
pub(crate) use self::message::LEAST;
use crate::course::{Course, Stage, share};
use crate::failure::Failure;
use crate::plan::{Pace, Plan, nanoseconds};
use crate::shared::Shared;
use crate::sizes::Sizes;
use crate::tally::Tally;
use crate::worker::{EVENTS, wait};

/// Datagrams of a timetable that are sent before the next look at what came back. Sockets hold few of them, so the load
/// generator would drop the answers to a longer burst.
const BURST: usize = 64;
/// How long to wait before a socket that was full is tried again, in nanoseconds. No event reports that it has room,
/// because most systems call a full socket writable.
const FULL: u64 = 1_000_000;

/// One thread's sockets.
pub(crate) struct DatagramWorker<'a> {
    plan: &'a Plan,
    shared: &'a Shared<'a>,
    course: Course<'a>,
    kqueue: Kqueue,
    flows: Vec<Flow>,
    /// How many sockets there are to be.
    wanted: usize,
    /// Number of the first socket among those of all threads.
    first: usize,
    batch: Batch,
    /// Sockets that were full.
    full: Vec<usize>,
}

/// A socket and its datagrams.
struct Flow {
    socket: OwnedFd,
    flight: Flight,
    /// Datagrams that are to be sent.
    owed: usize,
    /// Datagrams that were sent, and neither came back nor were given up.
    under_way: usize,
    is_full: bool,
}

impl<'a> DatagramWorker<'a> {
    /// The worker for thread number `thread` of the plan.
    pub(crate) fn new(shared: &'a Shared<'a>, thread: usize) -> io::Result<DatagramWorker<'a>> {
        let plan = shared.plan;
        let (wanted, first) = share(plan.connections, thread, plan.threads);
        let most = if plan.pace == Pace::Closed { plan.pipeline } else { BURST };
        let v4 = plan.targets.iter().filter_map(|target| target.ip()).all(|address| address.is_ipv4());
        let mut course = Course::new(shared, thread, wanted);
        course.tick_within(nanoseconds(plan.datagram_timeout) / 10);
        Ok(DatagramWorker {
            plan,
            shared,
            course,
            kqueue: Kqueue::new()?,
            flows: Vec::new(),
            wanted,
            first,
            batch: Batch::new(Sizes::of(plan), most, v4),
            full: Vec::new(),
        })
    }

    /// Runs the warm-up, which begins at `start`, the window and the drain.
    pub(crate) fn run(mut self, start: u64) -> io::Result<Tally> {
        let mut events = Events::with_capacity(EVENTS);
        self.course.begin(start);
        self.tick(self.course.now())?;
        if self.course.schedule.is_none() {
            for index in 0..self.flows.len() {
                let (now, before) = (self.course.now(), self.course.under_way);
                self.begin(index, self.plan.pipeline);
                self.course.begins_first(self.course.under_way - before, now);
            }
        }
        while self.course.stage != Stage::Done {
            let patience = if self.full.is_empty() { u64::MAX } else { FULL };
            wait(&self.kqueue, &mut events, self.course.patience().min(patience))?;
            for event in events.iter() {
                self.receive(event.token().0)?;
            }
            let now = self.course.now();
            if now >= self.course.boundary {
                self.tick(now)?;
            }
            self.send_due(now);
            self.send_to_full();
        }
        // An answer that the server sends twice may arrive late, so look once more.
        wait(&self.kqueue, &mut events, 0)?;
        for event in events.iter() {
            self.receive(event.token().0)?;
        }
        self.course.tally.datagrams.overflowed = self.overflowed();
        Ok(self.course.tally)
    }

    /// Begins up to `count` datagrams on socket `index`, within the window's budget.
    fn begin(&mut self, index: usize, count: usize) {
        let count = count.min(usize::try_from(self.course.budget).unwrap_or(usize::MAX));
        let Some(flow) = self.flows.get_mut(index) else { return };
        flow.owed += count;
        self.course.budget -= count as u64;
        self.course.under_way += count as u64;
        self.flush(index);
    }

    /// Open loop: begins what is due by `now`.
    fn send_due(&mut self, now: u64) {
        let taken = self.course.take_due(now, BURST as u64);
        for first in taken.clone().take(self.wanted) {
            let due = self.course.due_together(first, &taken);
            self.begin(due.index, due.count as usize);
        }
    }

    fn send_to_full(&mut self) {
        for index in std::mem::take(&mut self.full) {
            if let Some(flow) = self.flows.get_mut(index) {
                flow.is_full = false;
                self.flush(index);
            }
        }
    }

    /// Sends what is owed on socket `index`, as far as it has room.
    fn flush(&mut self, index: usize) {
        loop {
            let now = self.course.now();
            let Some(flow) = self.flows.get_mut(index).filter(|flow| flow.owed > 0 && !flow.is_full) else { return };
            let (number, first) = (self.first + index, flow.flight.next());
            let sent = match self.batch.send(&flow.socket, &self.shared.pattern, number, first, flow.owed) {
                Ok(sent) => sent,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN | Errno::NOBUFS) => {
                    flow.is_full = true;
                    return self.full.push(index);
                }
                Err(errno) => {
                    self.failed(errno);
                    1 // and it will be lost
                }
            };
            let Some(flow) = self.flows.get_mut(index) else { return };
            flow.owed -= sent;
            flow.under_way += sent;
            for message in (first..).take(sent) {
                flow.flight.sent(now);
                let counts = self.course.counts(self.course.since(index, message, now));
                self.course.tally.datagrams.sent += u64::from(counts);
            }
        }
    }

    /// Receives what has come back to socket `index`, as much of it as is under way.
    fn receive(&mut self, index: usize) -> io::Result<()> {
        let Some(flow) = self.flows.get(index) else { return Ok(()) };
        // One more than nothing, because something came.
        let mut rest = flow.under_way.max(1);
        while rest > 0 {
            let Some(flow) = self.flows.get(index) else { break };
            let most = rest.min(self.batch.most());
            let result = self.batch.receive(&flow.socket, most);
            let count = self.batch.received().len();
            if count > 0 {
                self.received(index)?;
            }
            match result {
                Ok(()) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(errno) => {
                    self.failed(errno);
                    break;
                }
            }
            rest -= count;
            if count < most {
                break;
            }
        }
        Ok(())
    }

    /// Looks at the batch that socket `index` has received, and begins as many datagrams as it answers.
    fn received(&mut self, index: usize) -> io::Result<()> {
        let now = self.course.now();
        if now >= self.course.boundary {
            // An answer after the window's end is not the window's, and one after its timeout is late.
            self.tick(now)?;
        }
        let Some(flow) = self.flows.get_mut(index) else { return Ok(()) };
        let (mut answered, sizes) = (0, Sizes::of(self.plan));
        for datagram in self.batch.received() {
            let read = message::read(datagram, &self.shared.pattern, self.first + index, sizes);
            let Some((number, arrival)) = read.map(|number| (number, flow.flight.arrived(number))) else {
                self.course.tally.failures.count(Failure::Mismatch);
                continue;
            };
            let counts = &mut self.course.tally.datagrams;
            let measured = u64::from(self.course.stage >= Stage::Window);
            match arrival {
                Arrival::Answer { sent_at, overtaken } => {
                    counts.reordered += u64::from(overtaken) * measured;
                    answered += 1;
                    let counted = self.course.tally.answered;
                    self.course.record(self.course.since(index, number, sent_at), sent_at, now);
                    if self.course.tally.answered > counted {
                        self.course.tally.bytes += datagram.len() as u64;
                    }
                }
                Arrival::Late => counts.late += measured,
                Arrival::Duplicate => counts.duplicates += measured,
                Arrival::Unasked => self.course.tally.failures.count(Failure::Unasked),
            }
        }
        flow.under_way -= answered;
        self.over(index, answered, now);
        Ok(())
    }

    /// Counts `count` datagrams of socket `index` as over at `now`, and begins others in their place.
    fn over(&mut self, index: usize, count: usize, now: u64) {
        self.course.under_way -= count as u64;
        self.course.tick_if_full(now, false);
        if self.course.schedule.is_none() && self.course.stage < Stage::Drain {
            self.begin(index, count);
        }
    }

    /// Moves to the next stage if it is time, gives up what is lost, and hands over live figures.
    fn tick(&mut self, now: u64) -> io::Result<()> {
        if !self.course.goes_on(now) {
            return Ok(());
        }
        if self.course.has_to_close(now, false) {
            self.send_due(now);
            self.course.close_window(now, self.flows.len());
        }
        for index in 0..self.flows.len() {
            self.expire(index, now);
        }
        if self.course.stage == Stage::Drain {
            self.end_drain(now);
        }
        self.course.end_tick(now);
        Ok(())
    }

    /// Gives up the datagrams of socket `index` that have been under way for too long.
    fn expire(&mut self, index: usize, now: u64) {
        let Some(time) = now.checked_sub(nanoseconds(self.plan.datagram_timeout)) else { return };
        let mut lost = 0;
        while let Some(flow) = self.flows.get_mut(index)
            && let Some((number, sent_at)) = flow.flight.expire(time)
        {
            flow.under_way -= 1;
            lost += 1;
            self.course.lose(self.course.since(index, number, sent_at), sent_at, now);
        }
        if lost > 0 {
            self.over(index, lost, now);
        }
    }

    /// Ends the run once everything is back or lost.
    fn end_drain(&mut self, now: u64) {
        if self.course.has_drained_for(now, self.plan.datagram_timeout) {
            self.course.tally.unsent += self.course.give_up_rest();
            for flow in &mut self.flows {
                let owed = std::mem::take(&mut flow.owed) as u64;
                self.course.under_way -= owed;
                self.course.tally.unsent += owed;
            }
        }
        // A stopped run does not wait for datagrams under way, and does not count them as lost.
        if self.shared.stopped() || (self.course.under_way == 0 && !self.course.has_more()) {
            self.course.stage = Stage::Done;
        }
    }

    /// Counts an error that a socket reports.
    fn failed(&mut self, errno: Errno) {
        let failure = match errno {
            Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::HOSTDOWN | Errno::NETDOWN => {
                Failure::Connect
            }
            _ => Failure::System,
        };
        self.course.tally.failures.count(failure);
        self.shared.targets.refused(self.shared.targets.next().0, errno.into());
    }

    /// Adds a socket that is connected.
    fn add(&mut self, socket: OwnedFd) -> io::Result<()> {
        self.kqueue.apply(&[Change::add_read(socket.as_fd(), Token(self.flows.len()))]).all()?;
        self.flows.push(Flow { socket, flight: Flight::default(), owed: 0, under_way: 0, is_full: false });
        Ok(())
    }
}
