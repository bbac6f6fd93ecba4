//! One thread of the load: an event loop over its share of the connections.
//!
//! Reads are edge-triggered and one receive is enough for an answer: the buffer has room for more than can be due, so a
//! receive that leaves room has emptied the socket. Sends are tried at once; the queue is asked for write readiness
//! only on a connection whose socket was full.

mod connecting;
mod stages;

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::time::Duration;

use parrot_kqueue::{Change, Event, Events, Filter, Kqueue, Token};

use self::stages::{Stage, tick};
use crate::clock::Account;
use crate::failure::Failure;
use crate::latency::Latencies;
use crate::link::{Link, Phase};
use crate::plan::{Length, Pace, Plan, nanoseconds};
use crate::run::Shared;
use crate::schedule::Schedule;
use crate::tally::{Live, Tally};

/// Messages of a timetable that are begun before the clock is looked at again.
const LOOK: u64 = 1024;
/// Events taken from the queue at once.
const EVENTS: usize = 1024;

/// One thread's connections and counts.
pub(crate) struct Worker<'a> {
    plan: &'a Plan,
    shared: &'a Shared,
    live: Option<&'a Mutex<Live>>,
    kqueue: Kqueue,
    /// The connections that send, then the idle ones.
    links: Vec<Link>,
    sending: usize,
    /// Number of the first connection among those of all threads.
    first: usize,
    buffer: Vec<u8>,
    /// When each message under way was begun: `pipeline` places a connection.
    asked_at: Vec<u64>,
    schedule: Option<Schedule>,
    /// The timetable's next message.
    next: u64,
    /// When the first message was to be sent, in nanoseconds since the run began, as are all times here.
    start: u64,
    warmup_ends: u64,
    stage: Stage,
    /// How often something other than events is looked at.
    tick: u64,
    /// When something other than events has to be looked at.
    boundary: u64,
    window_ends: u64,
    /// Messages this thread is to measure, and how many of them may still be begun.
    quota: u64,
    budget: u64,
    under_way: u64,
    dialing: usize,
    /// Connections that can still send.
    alive: usize,
    /// The thread's account when the window opened.
    before: Account,
    fresh: Latencies,
    tally: Tally,
}

impl<'a> Worker<'a> {
    /// Thread number `thread` of the plan's.
    pub(crate) fn new(
        plan: &'a Plan,
        shared: &'a Shared,
        live: Option<&'a Mutex<Live>>,
        thread: usize,
    ) -> io::Result<Worker<'a>> {
        let share = |total: usize| total / plan.threads + usize::from(thread < total % plan.threads);
        let before = |total: usize| {
            (0..thread).map(|thread| total / plan.threads + usize::from(thread < total % plan.threads)).sum::<usize>()
        };
        let (sending, idle) = (share(plan.connections), share(plan.idle));
        let first = before(plan.connections);
        let quota = match plan.length {
            Length::Messages(total) => {
                total / plan.threads as u64 + u64::from((thread as u64) < total % plan.threads as u64)
            }
            Length::Time(_) => u64::MAX,
        };
        let schedule = match plan.pace {
            Pace::Closed => None,
            Pace::Rate(rate) => Some(Schedule::new(rate, thread, plan.threads, sending)),
        };
        Ok(Worker {
            plan,
            shared,
            live,
            kqueue: Kqueue::new()?,
            links: (first..first + sending).chain(std::iter::repeat_n(0, idle)).map(Link::new).collect(),
            sending,
            first,
            buffer: vec![0; (plan.size * plan.pipeline).clamp(16 << 10, 1 << 20) + 1],
            asked_at: vec![0; sending * plan.pipeline],
            schedule,
            next: 0,
            start: 0,
            warmup_ends: 0,
            stage: Stage::Warmup,
            tick: tick(plan.interval),
            boundary: 0,
            window_ends: u64::MAX,
            quota,
            budget: u64::MAX,
            under_way: 0,
            dialing: 0,
            alive: sending,
            before: Account::default(),
            fresh: Latencies::default(),
            tally: Tally::default(),
        })
    }

    fn now(&self) -> u64 {
        self.shared.now()
    }

    /// Runs warm-up, window and drain, of which the first begins at `start`.
    pub(crate) fn run(mut self, start: u64) -> io::Result<Tally> {
        let mut events = Events::with_capacity(EVENTS);
        self.start = start;
        self.warmup_ends = start.saturating_add(nanoseconds(self.plan.warmup));
        self.tick(self.now())?;
        if self.schedule.is_none() {
            for index in 0..self.sending {
                self.ask(index, self.plan.pipeline as u64)?;
            }
        }
        while self.stage != Stage::Over {
            wait(&self.kqueue, &mut events, self.patience())?;
            for event in events.iter() {
                self.handle(event)?;
            }
            let now = self.now();
            if now >= self.boundary {
                self.tick(now)?;
            }
            self.send_due(now)?;
        }
        // A last look: an answer that comes twice may come late.
        wait(&self.kqueue, &mut events, Duration::ZERO)?;
        for event in events.iter() {
            self.handle(event)?;
        }
        Ok(self.tally)
    }

    /// How long to wait for events.
    fn patience(&self) -> Duration {
        let now = self.now();
        let tick = self.boundary.saturating_sub(now);
        let Some(schedule) = self.schedule.filter(|_| self.stage < Stage::Drain) else {
            return Duration::from_nanos(tick);
        };
        // Systems round a wait up to a millisecond: the last one is spent looking, so that messages leave in time.
        let due = self.due(schedule, self.next).saturating_sub(now + 1_000_000);
        Duration::from_nanos(tick.min(due))
    }

    fn handle(&mut self, event: Event) -> io::Result<()> {
        let index = event.token().0;
        let Some(link) = self.links.get(index) else { return Ok(()) };
        match (link.phase, event.filter()) {
            (Phase::Dialing, _) => self.try_dialed(index),
            (Phase::Open, Filter::Write) => self.flush(index),
            (Phase::Open, _) => self.receive(index, event.is_eof()),
            (Phase::Closed | Phase::Dead, _) => Ok(()),
        }
    }

    fn asked_at(&self, index: usize, message: u64) -> u64 {
        self.asked_at.get(self.place(index, message)).copied().unwrap_or(0)
    }

    fn place(&self, index: usize, message: u64) -> usize {
        let depth = self.plan.pipeline;
        if depth == 1 { index } else { index * depth + (message % depth as u64) as usize }
    }

    /// Begins up to `count` messages on connection `index`, as far as the window's budget goes.
    fn ask(&mut self, index: usize, count: u64) -> io::Result<()> {
        let now = self.now();
        self.ask_at(index, count, now)
    }

    fn ask_at(&mut self, index: usize, count: u64, now: u64) -> io::Result<()> {
        let count = count.min(self.budget);
        let Some(link) = self.links.get_mut(index).filter(|link| link.phase != Phase::Dead && count > 0) else {
            return Ok(());
        };
        let first = link.asked;
        link.ask(count, self.plan.size);
        let closed = link.phase == Phase::Closed;
        for message in first..first + count {
            let place = self.place(index, message);
            if let Some(asked_at) = self.asked_at.get_mut(place) {
                *asked_at = now;
            }
        }
        self.budget -= count;
        self.under_way += count;
        if closed { self.dial(index) } else { self.flush(index) }
    }

    /// When the timetable's message `number` was to be sent.
    fn due(&self, schedule: Schedule, number: u64) -> u64 {
        self.start.saturating_add(schedule.due(number))
    }

    /// Open loop: begins every message whose time has come by `now`, or notes that it is owed.
    fn send_due(&mut self, now: u64) -> io::Result<()> {
        let Some(schedule) = self.schedule else { return Ok(()) };
        let first = self.next;
        loop {
            let due = self.due(schedule, self.next);
            if due > now || due >= self.window_ends {
                return Ok(());
            }
            // A timetable that this program cannot keep has no last message: answers, the window's end and whoever
            // wants it to stop come before the rest.
            let begun = self.next - first;
            if begun > 0 && begun.is_multiple_of(LOOK) && self.now() >= self.boundary {
                return Ok(());
            }
            let index = schedule.connection(self.next);
            self.next += 1;
            let counts = self.counts(due);
            // Read for each: the last of a burst is sent later than the first, and that delay is this program's own.
            let sent_at = self.now();
            let Some(link) = self.links.get_mut(index) else { return Ok(()) };
            if counts {
                self.tally.lateness.record(sent_at.saturating_sub(due));
                self.tally.unsent += u64::from(link.phase == Phase::Dead);
            }
            if link.phase != Phase::Dead {
                link.owed += 1;
                self.ask_owed(index, sent_at)?;
            }
        }
    }

    /// Open loop: begins what is owed on connection `index`, as far as its pipeline goes.
    fn ask_owed(&mut self, index: usize, now: u64) -> io::Result<()> {
        let Some(link) = self.links.get_mut(index) else { return Ok(()) };
        let count = link.owed.min((self.plan.pipeline as u64).saturating_sub(link.under_way()));
        link.owed -= count;
        self.ask_at(index, count, now)
    }

    /// Whether a message that was due at `due` belongs to the window.
    fn counts(&self, due: u64) -> bool {
        due >= self.warmup_ends && due < self.window_ends
    }

    fn flush(&mut self, index: usize) -> io::Result<()> {
        let Some(link) = self.links.get_mut(index).filter(|link| link.phase == Phase::Open) else { return Ok(()) };
        while link.has_unsent() {
            let Some(mut stream) = link.stream.as_ref() else { return Ok(()) };
            match stream.write(link.to_send(&self.shared.pattern)) {
                Ok(count) => link.sent(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !link.write_armed {
                        let write = Change::add_write(stream.as_fd(), Token(index));
                        self.kqueue.apply(&[write.edge()]).all()?;
                        link.write_armed = true;
                    }
                    return Ok(());
                }
                Err(error) => return self.fail(index, kind(&error)),
            }
        }
        Ok(())
    }

    fn receive(&mut self, index: usize, eof: bool) -> io::Result<()> {
        loop {
            let Some(link) = self.links.get_mut(index).filter(|link| link.phase == Phase::Open) else { return Ok(()) };
            let Some(mut stream) = link.stream.as_ref() else { return Ok(()) };
            let count = match stream.read(&mut self.buffer) {
                Ok(0) => return self.fail(index, Failure::Closed),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return self.fail(index, kind(&error)),
            };
            let bytes = self.buffer.get(..count).unwrap_or_default();
            match link.received(bytes, &self.shared.pattern, self.plan.size) {
                Ok(0) => {}
                Ok(completed) => self.completed(index, completed)?,
                Err(failure) => return self.fail(index, failure),
            }
            if count < self.buffer.len() && !eof {
                return Ok(());
            }
        }
    }

    /// Counts `completed` answers and begins the next messages.
    fn completed(&mut self, index: usize, completed: u64) -> io::Result<()> {
        let now = self.now();
        let Some(link) = self.links.get_mut(index) else { return Ok(()) };
        let first = link.answered;
        link.answered += completed;
        self.under_way -= completed;
        if now >= self.boundary {
            self.tick(now)?; // an answer after the window's end is not the window's
        }
        for message in first..first + completed {
            let asked_at = self.asked_at(index, message);
            self.record(index, message, asked_at, now);
        }
        if self.plan.reconnect.is_some() {
            self.close(index, Phase::Closed);
            if self.stage == Stage::Window {
                self.tally.between += self.now() - now;
            }
        }
        // Read again: what was done since the answer is no part of the next message's time.
        let now = self.now();
        if self.schedule.is_some() {
            self.ask_owed(index, now)
        } else if self.stage < Stage::Drain {
            self.ask_at(index, completed, now)
        } else {
            Ok(())
        }
    }

    fn record(&mut self, index: usize, message: u64, asked_at: u64, now: u64) {
        let in_window = self.stage == Stage::Window && self.tally.answered < self.quota;
        let since = match self.schedule {
            None => asked_at,
            Some(schedule) => self.start.saturating_add(schedule.due_on(index, message)),
        };
        let latency = now.saturating_sub(since);
        if let Some(closed) = self.tally.closed.filter(|_| since >= self.tally.opened) {
            self.tally.cut = self.tally.cut.max(closed.saturating_sub(since));
        }
        self.tally.answered += u64::from(in_window);
        if self.schedule.is_none() && in_window {
            self.tally.latencies.record(latency);
        } else if self.schedule.is_some() && self.counts(since) {
            self.tally.latencies.record(latency);
            self.tally.service.record(now.saturating_sub(asked_at));
        }
        if self.live.is_some() {
            self.fresh.record(latency);
        }
        self.look_if_full();
    }

    /// Open loop: a message that never came back took at least this long; leaving it out would hide a stall.
    fn charge_unanswered(&mut self, index: usize, now: u64) {
        let (Some(schedule), Some(link)) = (self.schedule, self.links.get_mut(index)) else { return };
        let messages = link.answered..link.asked + link.owed;
        let kept = if self.plan.reconnect.is_some() { link.owed } else { 0 };
        let messages = messages.start..messages.end - kept;
        if kept == 0 {
            link.owed = 0;
        }
        for message in messages {
            let due = self.start.saturating_add(schedule.due_on(index, message));
            if self.counts(due) {
                self.tally.latencies.record(now.saturating_sub(due));
            }
        }
    }
}

/// Waits; an interruption is a wait that ended early.
fn wait(kqueue: &Kqueue, events: &mut Events, patience: Duration) -> io::Result<()> {
    match kqueue.wait(events, Some(patience)) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        other => other,
    }
}

fn kind(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => Failure::Reset,
        _ => Failure::System,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;
    use crate::run::Stop;

    #[test]
    fn each_message_of_a_burst_is_timed_from_its_own_send() -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?; // its queue takes the connections
        let plan = Plan { connections: 8, pace: Pace::Rate(1000.0), ..Plan::new(listener.local_addr()?) };
        let (shared, _heard) = Shared::new(&plan, &Stop::default());
        let mut worker = Worker::new(&plan, &shared, None, 0)?;
        assert_eq!(worker.connect()?, 8);
        worker.send_due(7_000_000)?; // eight are due by then, at once
        assert!(worker.asked_at.is_sorted_by(|one, next| one < next), "{:?}", worker.asked_at);
        assert_eq!(worker.tally.lateness.count(), 8);
        Ok(())
    }
}
