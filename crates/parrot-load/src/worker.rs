//! One thread of the load, an event loop over its share of the connections.
//!
//! Read interest is edge-triggered, and one receive is enough for an answer. The buffer has room for more than can be
//! due, so a receive that leaves room has emptied the socket. Sends are tried at once, and write interest is registered
//! only for a connection whose socket was full.

mod connecting;
mod stages;

use std::io;
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::time::Duration;

use parrot_kqueue::{Change, Event, Events, Filter, Kqueue, Token};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use self::stages::{Stage, tick};
use crate::clock::Account;
use crate::connection::{Connection, Phase};
use crate::dial;
use crate::failure::Failure;
use crate::latency::Latencies;
use crate::plan::{Length, Pace, Plan, nanoseconds};
use crate::schedule::Schedule;
use crate::shared::Shared;
use crate::tally::{Live, Tally};

/// Messages of a timetable that are begun between two looks at the clock.
const LOOK: u64 = 1024;
/// Events taken from the queue at once.
const EVENTS: usize = 1024;

/// One thread's connections and counts.
pub(crate) struct Worker<'a> {
    plan: &'a Plan,
    shared: &'a Shared<'a>,
    live: Option<&'a Mutex<Live>>,
    kqueue: Kqueue,
    /// The connections that send, then the idle ones.
    connections: Vec<Connection>,
    sending: usize,
    /// Number of the first connection among those of all threads.
    first: usize,
    buffer: Vec<u8>,
    /// When each message under way was begun, in `pipeline` places for each connection.
    begun_at: Vec<u64>,
    schedule: Option<Schedule>,
    /// Number of the timetable's next message.
    next: u64,
    /// When sending began. Like all times here it is in nanoseconds since the run began.
    start: u64,
    warmup_ends: u64,
    stage: Stage,
    /// Time between two calls of [`tick`](Worker::tick).
    tick: u64,
    /// When the next one is due.
    boundary: u64,
    window_ends: u64,
    /// Messages that this thread is to measure, and how many of them it may still begin.
    quota: u64,
    budget: u64,
    under_way: u64,
    /// Connections that are being opened, and those of them that wait for room in the server's backlog.
    opening: usize,
    waiting: Vec<usize>,
    /// Connections that can still send.
    alive: usize,
    /// The thread's account when the window opened.
    before: Account,
    /// Latencies for the next live figures.
    fresh: Latencies,
    tally: Tally,
}

impl<'a> Worker<'a> {
    /// The worker for thread number `thread` of the plan.
    pub(crate) fn new(shared: &'a Shared<'a>, thread: usize) -> io::Result<Worker<'a>> {
        let plan = shared.plan;
        // The first threads take one more of what cannot be divided evenly.
        let (share, rest) = (plan.connections / plan.threads, plan.connections % plan.threads);
        let (sending, first) = (share + usize::from(thread < rest), share * thread + rest.min(thread));
        let idle = plan.idle / plan.threads + usize::from(thread < plan.idle % plan.threads);
        let (number, threads) = (thread as u64, plan.threads as u64);
        let quota = match plan.length {
            Length::Messages(total) => total / threads + u64::from(number < total % threads),
            Length::Time(_) => u64::MAX,
        };
        let schedule = match plan.pace {
            Pace::Closed => None,
            Pace::Rate(rate) => Some(Schedule::new(rate, thread, plan.threads, sending)),
        };
        Ok(Worker {
            plan,
            shared,
            live: shared.live.get(thread),
            kqueue: Kqueue::new()?,
            connections: (first..first + sending).chain(std::iter::repeat_n(0, idle)).map(Connection::new).collect(),
            sending,
            first,
            buffer: vec![0; (plan.size * plan.pipeline).clamp(16 << 10, 1 << 20) + 1],
            begun_at: vec![0; sending * plan.pipeline],
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
            opening: 0,
            waiting: Vec::new(),
            alive: sending,
            before: Account::default(),
            fresh: Latencies::default(),
            tally: Tally::default(),
        })
    }

    fn now(&self) -> u64 {
        self.shared.now()
    }

    /// Runs the warm-up, which begins at `start`, the window and the drain.
    pub(crate) fn run(mut self, start: u64) -> io::Result<Tally> {
        let mut events = Events::with_capacity(EVENTS);
        self.start = start;
        self.warmup_ends = start.saturating_add(nanoseconds(self.plan.warmup));
        self.tick(self.now())?;
        if self.schedule.is_none() {
            for index in 0..self.sending {
                self.begin(index, self.plan.pipeline as u64, self.now())?;
            }
        }
        while self.stage != Stage::Done {
            wait(&self.kqueue, &mut events, self.patience())?;
            for event in events.iter() {
                self.handle(event)?;
            }
            let now = self.now();
            if now >= self.boundary {
                self.tick(now)?;
            }
            self.send_due(now)?;
            self.dial_waiting()?;
        }
        // An answer that the server sends twice may arrive late, so look once more.
        wait(&self.kqueue, &mut events, Duration::ZERO)?;
        for event in events.iter() {
            self.handle(event)?;
        }
        Ok(self.tally)
    }

    /// How long to wait for events.
    fn patience(&self) -> Duration {
        let now = self.now();
        let tick = self.patience_for_backlog(self.boundary.saturating_sub(now));
        let Some(schedule) = self.schedule.filter(|_| self.stage < Stage::Drain) else {
            return Duration::from_nanos(tick);
        };
        // Systems round a wait up to a millisecond, so the last millisecond before a message is due is spent polling.
        let due = self.due(schedule, self.next).saturating_sub(now + 1_000_000);
        Duration::from_nanos(tick.min(due))
    }

    fn handle(&mut self, event: Event) -> io::Result<()> {
        let index = event.token().0;
        let Some(connection) = self.connections.get(index) else { return Ok(()) };
        match (connection.phase, event.filter()) {
            (Phase::Dialing, _) => self.try_dialed(index),
            (Phase::Greeting, Filter::Write) => Ok(()),
            (Phase::Greeting, _) => self.receive_greeting(index),
            (Phase::Open, Filter::Write) => self.flush(index),
            (Phase::Open, _) => self.receive(index, event.is_eof()),
            (Phase::Closed | Phase::Dead, _) => Ok(()),
        }
    }

    fn begun_at(&self, index: usize, message: u64) -> u64 {
        self.begun_at.get(self.place(index, message)).copied().unwrap_or(0)
    }

    fn place(&self, index: usize, message: u64) -> usize {
        let depth = self.plan.pipeline;
        if depth == 1 { index } else { index * depth + (message % depth as u64) as usize }
    }

    /// Begins up to `count` messages on connection `index`, within the window's budget.
    fn begin(&mut self, index: usize, count: u64, now: u64) -> io::Result<()> {
        let count = count.min(self.budget);
        let usable = |one: &&mut Connection| one.phase != Phase::Dead && count > 0;
        let Some(connection) = self.connections.get_mut(index).filter(usable) else { return Ok(()) };
        let first = connection.begun;
        connection.begin(count, self.plan.size);
        let closed = connection.phase == Phase::Closed;
        for message in first..first + count {
            let place = self.place(index, message);
            if let Some(begun_at) = self.begun_at.get_mut(place) {
                *begun_at = now;
            }
        }
        self.budget -= count;
        self.under_way += count;
        if closed { self.dial(index) } else { self.flush(index) }
    }

    /// When the timetable's message `number` is due.
    fn due(&self, schedule: Schedule, number: u64) -> u64 {
        self.start.saturating_add(schedule.due(number))
    }

    /// Open loop: begins every message that is due by `now`, or records it as owed.
    fn send_due(&mut self, now: u64) -> io::Result<()> {
        let Some(schedule) = self.schedule else { return Ok(()) };
        let first = self.next;
        loop {
            let due = self.due(schedule, self.next);
            if due > now || due >= self.window_ends {
                return Ok(());
            }
            // A timetable that is too fast to be kept always has another message due. Answers, the window's end and a
            // stop come first.
            let begun = self.next - first;
            if begun > 0 && begun.is_multiple_of(LOOK) && self.now() >= self.boundary {
                return Ok(());
            }
            let index = schedule.connection(self.next);
            self.next += 1;
            let counts = self.counts(due);
            // Read for each message, because the last of a burst leaves later than the first.
            let sent_at = self.now();
            let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
            if counts {
                self.tally.lateness.record(sent_at.saturating_sub(due));
                self.tally.unsent += u64::from(connection.phase == Phase::Dead);
            }
            if connection.phase != Phase::Dead {
                connection.owed += 1;
                self.begin_owed(index, sent_at)?;
            }
        }
    }

    /// Open loop: begins what is owed on connection `index`, as far as its pipeline has room.
    fn begin_owed(&mut self, index: usize, now: u64) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        let count = connection.owed.min((self.plan.pipeline as u64).saturating_sub(connection.under_way()));
        connection.owed -= count;
        self.begin(index, count, now)
    }

    /// Whether a message that was due at `due` belongs to the window.
    fn counts(&self, due: u64) -> bool {
        due >= self.warmup_ends && due < self.window_ends
    }

    fn flush(&mut self, index: usize) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(index).filter(|one| one.is_open()) else { return Ok(()) };
        while connection.has_unsent() {
            let Some(stream) = connection.stream.as_ref() else { return Ok(()) };
            match dial::send(stream, connection.to_send(&self.shared.pattern)) {
                Ok(count) => connection.sent(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if !connection.write_armed {
                        let write = Change::add_write(stream.as_fd(), Token(index));
                        self.kqueue.apply(&[write.edge()]).all()?;
                        connection.write_armed = true;
                    }
                    return Ok(());
                }
                Err(errno) => return self.fail(index, kind(errno)),
            }
        }
        Ok(())
    }

    fn receive(&mut self, index: usize, eof: bool) -> io::Result<()> {
        loop {
            let Some(connection) = self.connections.get_mut(index).filter(|one| one.is_open()) else { return Ok(()) };
            let Some(stream) = connection.stream.as_ref() else { return Ok(()) };
            let count = match recv(stream, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((0, _)) => return self.fail(index, Failure::Closed),
                Ok((count, _)) => count,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return self.fail(index, kind(errno)),
            };
            let bytes = self.buffer.get(..count).unwrap_or_default();
            match connection.received(bytes, &self.shared.pattern, self.plan.size) {
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
        let first = self.connections.get(index).map_or(0, |one| one.answered);
        if now >= self.boundary {
            // An answer after the window's end is not the window's. The messages under way keep the tick from beginning
            // others on this connection.
            self.tick(now)?;
        }
        // Unless the tick has found the answers too late and given the connection up.
        let Some(connection) = self.connections.get_mut(index).filter(|one| one.answered == first) else {
            return Ok(());
        };
        connection.answered += completed;
        self.under_way -= completed;
        if self.plan.reconnect.is_some() {
            self.close(index, Phase::Closed);
            if self.stage == Stage::Window {
                self.tally.between += self.now() - now;
            }
        }
        for message in first..first + completed {
            let begun_at = self.begun_at(index, message);
            self.record(index, message, begun_at, now);
        }
        // Read again, because what was done since the answer is not part of the next message's time.
        let now = self.now();
        if self.schedule.is_some() {
            self.begin_owed(index, now)
        } else if self.stage < Stage::Drain {
            self.begin(index, completed, now)
        } else {
            Ok(())
        }
    }

    fn record(&mut self, index: usize, message: u64, begun_at: u64, now: u64) {
        let in_window = self.stage == Stage::Window && self.tally.answered < self.quota;
        let since = match self.schedule {
            None => begun_at,
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
            self.tally.service.record(now.saturating_sub(begun_at));
        }
        if self.live.is_some() {
            self.fresh.record(latency);
        }
        self.tick_if_full();
    }

    /// Open loop: records messages that never came back with the time they have taken so far. Leaving them out would
    /// hide a stall.
    fn charge_unanswered(&mut self, index: usize, now: u64) {
        let (Some(schedule), Some(connection)) = (self.schedule, self.connections.get_mut(index)) else { return };
        // The next connection for a message sends what is owed.
        let given_up = if self.plan.reconnect.is_some() { 0 } else { std::mem::take(&mut connection.owed) };
        for message in connection.answered..connection.begun + given_up {
            let due = self.start.saturating_add(schedule.due_on(index, message));
            if self.counts(due) {
                self.tally.latencies.record(now.saturating_sub(due));
            }
        }
    }
}

/// Waits for events. A signal ends the wait early, without an error.
fn wait(kqueue: &Kqueue, events: &mut Events, patience: Duration) -> io::Result<()> {
    match kqueue.wait(events, Some(patience)) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        other => other,
    }
}

fn kind(errno: Errno) -> Failure {
    match errno {
        Errno::CONNRESET | Errno::CONNABORTED | Errno::PIPE => Failure::Reset,
        _ => Failure::System,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;
    use crate::plan::Close;
    use crate::watch::Stop;

    #[test]
    fn each_message_of_a_burst_has_its_own_send_time() -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?; // its backlog takes the connections
        let plan = Plan { connections: 8, pace: Pace::Rate(1000.0), ..Plan::new(listener.local_addr()?) };
        let (shared, _notices) = Shared::new(&plan, &Stop::default());
        let mut worker = Worker::new(&shared, 0)?;
        assert_eq!(worker.connect()?, 8);
        worker.send_due(7_000_000)?; // eight are due by then, at once
        assert!(worker.begun_at.is_sorted_by(|one, next| one < next), "{:?}", worker.begun_at);
        assert_eq!(worker.tally.lateness.count(), 8);
        Ok(())
    }

    #[test]
    fn a_message_due_at_the_windows_end_gets_a_new_connection() -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let plan = Plan {
            connections: 1,
            pace: Pace::Rate(1000.0),
            reconnect: Some(Close::Reset),
            warmup: Duration::ZERO,
            length: Length::Messages(2),
            ..Plan::new(listener.local_addr()?)
        };
        let (shared, _notices) = Shared::new(&plan, &Stop::default());
        let mut worker = Worker::new(&shared, 0)?;
        worker.tick(0)?;
        worker.send_due(0)?;
        while worker.now() < 2_000_000 {
            std::thread::yield_now(); // the second message is due after one millisecond, and the window ends after two
        }
        let (mut stream, mut message) = (listener.accept()?.0, [0; 12]);
        stream.read_exact(&mut message)?;
        stream.write_all(&message)?;
        let mut events = Events::with_capacity(EVENTS);
        while worker.tally.latencies.count() == 0 {
            wait(&worker.kqueue, &mut events, Duration::from_secs(30))?;
            for event in events.iter() {
                worker.handle(event)?;
            }
        }
        assert_eq!((worker.under_way, worker.connections[0].under_way()), (1, 1));
        Ok(())
    }
}
