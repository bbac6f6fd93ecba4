//! One thread of the load, an event loop over its share of the connections.
//!
//! Read interest is edge-triggered, and one receive is enough for an answer. The buffer has room for more than can be
//! due, so a receive that leaves room has emptied the socket. Sends are tried at once, and write interest is registered
//! only for a connection whose socket was full.

mod connecting;
mod stages;

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use parrot_kqueue::{Change, Event, Events, Filter, Kqueue, Token};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::connection::{Connection, Phase};
use crate::course::{Course, Stage, share};
use crate::dial;
use crate::failure::Failure;
use crate::plan::Plan;
use crate::shared::Shared;
use crate::sizes::Sizes;
use crate::tally::Tally;

/// Messages of a timetable that are begun between two looks at whether something else comes first.
const LOOK: u64 = 1024;
/// Events taken from the queue at once.
pub(crate) const EVENTS: usize = 1024;

/// One thread's connections.
pub(crate) struct Worker<'a> {
    plan: &'a Plan,
    shared: &'a Shared<'a>,
    course: Course<'a>,
    kqueue: Kqueue,
    /// The connections that send, then the idle ones.
    connections: Vec<Connection>,
    sending: usize,
    /// Number of the first connection among those of all threads.
    first: usize,
    buffer: Vec<u8>,
    /// When each message under way was begun, in `pipeline` places for each connection.
    begun_at: Vec<u64>,
    /// Connections that are being opened, and those of them that wait for room in the server's backlog.
    opening: usize,
    waiting: Vec<usize>,
    /// Connections whose turn to be opened has yet to come, and when it comes.
    queued: VecDeque<(u64, usize)>,
    /// Messages that a connection carries before it is closed and opened again.
    limit: u64,
    sizes: Sizes,
    /// Connections that can still send.
    alive: usize,
}

impl<'a> Worker<'a> {
    /// The worker for thread number `thread` of the plan.
    pub(crate) fn new(shared: &'a Shared<'a>, thread: usize) -> io::Result<Worker<'a>> {
        let plan = shared.plan;
        let (sending, first) = share(plan.connections, thread, plan.threads);
        let (idle, _) = share(plan.idle, thread, plan.threads);
        let limit = plan.reconnect.map_or(u64::MAX, |reconnect| reconnect.after);
        let sizes = Sizes::of(plan);
        let numbers = (first..first + sending).chain(std::iter::repeat_n(0, idle));
        Ok(Worker {
            plan,
            shared,
            course: Course::new(shared, thread, sending),
            kqueue: Kqueue::new()?,
            connections: numbers.map(|number| Connection::new(number, limit)).collect(),
            sending,
            first,
            buffer: vec![0; (sizes.most() * plan.pipeline).clamp(16 << 10, 1 << 20) + 1],
            begun_at: vec![0; sending * plan.pipeline],
            opening: 0,
            waiting: Vec::new(),
            queued: VecDeque::new(),
            limit,
            sizes,
            alive: sending,
        })
    }

    fn now(&self) -> u64 {
        self.shared.now()
    }

    /// Whether no connection is left to send on.
    fn hopeless(&self) -> bool {
        self.alive == 0 && self.plan.reconnect.is_none()
    }

    /// Runs the warm-up, which begins at `start`, the window and the drain.
    pub(crate) fn run(mut self, start: u64) -> io::Result<Tally> {
        let mut events = Events::with_capacity(EVENTS);
        self.course.begin(start);
        self.tick(self.now())?;
        if self.course.schedule.is_none() {
            self.begin_first()?;
        }
        while self.course.stage != Stage::Done {
            let patience = self.patience_for_dialing(self.course.patience());
            wait(&self.kqueue, &mut events, patience)?;
            for event in events.iter() {
                self.handle(event)?;
            }
            let now = self.now();
            if now >= self.course.boundary {
                self.tick(now)?;
            }
            self.send_due(now)?;
            self.dial_waiting()?;
            self.take_turns()?;
        }
        // An answer that the server sends twice may arrive late, so look once more.
        wait(&self.kqueue, &mut events, 0)?;
        for event in events.iter() {
            self.handle(event)?;
        }
        Ok(self.course.tally)
    }

    /// Closed loop: begins the first messages on every connection.
    fn begin_first(&mut self) -> io::Result<()> {
        for index in 0..self.sending {
            let (now, before) = (self.now(), self.course.under_way);
            self.begin_next(index, now)?;
            self.course.begins_first(self.course.under_way.saturating_sub(before), now);
        }
        Ok(())
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
            (Phase::Closed | Phase::Queued | Phase::Dead, _) => Ok(()),
        }
    }

    fn begun_at(&self, index: usize, message: u64) -> u64 {
        self.begun_at.get(self.place(index, message)).copied().unwrap_or(0)
    }

    fn place(&self, index: usize, message: u64) -> usize {
        let depth = self.plan.pipeline;
        if depth == 1 { index } else { index * depth + (message % depth as u64) as usize }
    }

    /// Begins the next messages on connection `index`, if it may be opened for them or is open.
    fn begin_next(&mut self, index: usize, now: u64) -> io::Result<()> {
        let waits = self.plan.connect_rate.is_some() && !self.may_send(index);
        if waits { Ok(()) } else { self.begin_all(index, now) }
    }

    /// Begins the next messages on connection `index`: in an open loop what is owed on it, in a closed loop as many as it
    /// has room for.
    fn begin_all(&mut self, index: usize, now: u64) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        let mut wanted = connection.room(self.plan.pipeline);
        if self.course.schedule.is_some() {
            wanted = wanted.min(connection.owed);
            connection.owed -= wanted;
        }
        self.begin(index, wanted, now)
    }

    /// Begins up to `wanted` messages on connection `index`, within the window's budget. It is opened for them if it is
    /// closed.
    fn begin(&mut self, index: usize, wanted: u64, now: u64) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        let count = wanted.min(connection.left).min(self.course.budget);
        if count == 0 {
            return Ok(());
        }
        let first = connection.begun;
        connection.begin(count, self.sizes);
        let closed = connection.phase == Phase::Closed;
        for message in first..first + count {
            let place = self.place(index, message);
            if let Some(begun_at) = self.begun_at.get_mut(place) {
                *begun_at = now;
            }
        }
        self.course.budget -= count;
        self.course.under_way += count;
        if closed { self.dial(index) } else { self.flush(index) }
    }

    /// Open loop: begins every message that is due by `now`, or records it as owed. Those of one connection leave with one
    /// send.
    fn send_due(&mut self, now: u64) -> io::Result<()> {
        loop {
            let taken = self.course.take_due(now, LOOK);
            for first in taken.clone().take(self.sending) {
                let due = self.course.due_together(first, &taken);
                let Some(connection) = self.connections.get_mut(due.index) else { break };
                if connection.phase != Phase::Dead {
                    connection.owed += due.count;
                    self.begin_next(due.index, due.now)?;
                } else {
                    self.course.tally.unsent += due.counted;
                }
            }
            // A timetable that is too fast to be kept always has another message due. Answers, the window's end and a
            // stop come first.
            if taken.end - taken.start < LOOK || self.now() >= self.course.boundary {
                return Ok(());
            }
        }
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
            match connection.received(bytes, &self.shared.pattern, self.sizes) {
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
        if now >= self.course.boundary {
            // An answer after the window's end is not the window's. The messages under way keep the tick from beginning
            // others on this connection.
            self.tick(now)?;
        }
        // Unless the tick has found the answers too late and given the connection up.
        let Some(connection) = self.connections.get_mut(index).filter(|one| one.answered == first) else {
            return Ok(());
        };
        connection.answered += completed;
        self.course.under_way -= completed;
        let spent = connection.is_spent();
        if spent {
            self.close(index, Phase::Closed);
            if self.course.stage == Stage::Window {
                self.course.tally.between += self.now() - now;
            }
        }
        if self.sizes.fixed().is_none() {
            self.count_bytes(index, first, completed);
        }
        for message in first..first + completed {
            let begun_at = self.begun_at(index, message);
            self.course.record(self.course.since(index, message, begun_at), begun_at, now);
        }
        self.course.tick_if_full(now, self.hopeless());
        // Read again, because what was done since the answer is not part of the next message's time.
        let now = self.now();
        if spent || self.course.schedule.is_some() {
            self.begin_next(index, now)
        } else {
            self.begin(index, completed, now)
        }
    }

    /// Counts the bytes of `count` answers on connection `index` from number `first` on, as far as they count themselves.
    #[inline(never)]
    fn count_bytes(&mut self, index: usize, first: u64, count: u64) {
        if let Some(connection) = self.connections.get(index) {
            let messages = first..first + self.course.countable(count);
            self.course.tally.bytes += connection.bytes(messages, self.sizes);
        }
    }

    /// Open loop: records the messages that will never come back.
    fn charge_unanswered(&mut self, index: usize, now: u64) {
        let Some(connection) = self.connections.get_mut(index).filter(|_| self.course.schedule.is_some()) else {
            return;
        };
        // The next connection sends what is owed, unless there is none any more.
        let goes_on = self.plan.reconnect.is_some() && !self.course.has_drained_for(now, self.plan.timeout);
        let given_up = if goes_on { 0 } else { std::mem::take(&mut connection.owed) };
        for message in connection.answered..connection.begun + given_up {
            let due = self.course.since(index, message, 0);
            self.course.charge(due, now);
        }
    }
}

/// Waits for events for at most `patience` nanoseconds. A signal ends the wait early, without an error.
pub(crate) fn wait(kqueue: &Kqueue, events: &mut Events, patience: u64) -> io::Result<()> {
    match kqueue.wait(events, Some(Duration::from_nanos(patience))) {
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
    use crate::plan::{Close, Length, Pace, nanoseconds};
    use crate::watch::Stop;

    /// Handles events until an answer is recorded.
    fn answered(worker: &mut Worker<'_>) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while worker.course.tally.latencies.count() == 0 {
            wait(&worker.kqueue, &mut events, nanoseconds(Duration::from_secs(30)))?;
            for event in events.iter() {
                worker.handle(event)?;
            }
        }
        Ok(())
    }

    #[test]
    fn each_message_of_a_burst_has_its_own_send_time() -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?; // its backlog takes the connections
        let plan = Plan { connections: 8, pace: Pace::Rate(1000.0), ..Plan::new(listener.local_addr()?) };
        let (shared, _notices) = Shared::new(&plan, &Stop::default());
        let mut worker = Worker::new(&shared, 0)?;
        assert_eq!(worker.connect()?, 8);
        worker.send_due(7_000_000)?; // eight are due by then, at once
        assert!(worker.begun_at.is_sorted_by(|one, next| one < next), "{:?}", worker.begun_at);
        assert_eq!(worker.course.tally.lateness.count(), 8);
        Ok(())
    }

    #[test]
    fn messages_due_together_on_a_connection_are_one_send() -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let plan = Plan { connections: 2, pipeline: 4, pace: Pace::Rate(1000.0), ..Plan::new(listener.local_addr()?) };
        let (shared, _notices) = Shared::new(&plan, &Stop::default());
        let mut worker = Worker::new(&shared, 0)?;
        assert_eq!(worker.connect()?, 2);
        let before = dial::SENDS.get();
        worker.send_due(7_000_000)?; // four are due by then on each
        assert_eq!(dial::SENDS.get() - before, 2);
        assert_eq!(worker.course.tally.lateness.count(), 8);
        let times: Vec<&[u64]> = worker.begun_at.chunks(4).collect();
        assert!(
            times.iter().all(|times| times.iter().all(|time| *time == times[0])) && times[0] < times[1],
            "{times:?}"
        );
        let mut messages = [0; 48];
        listener.accept()?.0.read_exact(&mut messages)
    }

    #[test]
    fn answers_that_come_together_are_followed_by_one_send() -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let plan = Plan { connections: 1, pipeline: 16, ..Plan::new(listener.local_addr()?) };
        let (shared, _notices) = Shared::new(&plan, &Stop::default());
        let mut worker = Worker::new(&shared, 0)?;
        assert_eq!(worker.connect()?, 1);
        worker.tick(0)?;
        worker.begin_next(0, 0)?;
        let (mut stream, mut messages) = (listener.accept()?.0, [0; 192]);
        stream.read_exact(&mut messages)?;
        stream.write_all(&messages)?;
        let (before, mut events) = (dial::SENDS.get(), Events::with_capacity(EVENTS));
        wait(&worker.kqueue, &mut events, nanoseconds(Duration::from_secs(30)))?;
        for event in events.iter() {
            worker.handle(event)?;
        }
        assert_eq!((dial::SENDS.get() - before, worker.connections[0].answered), (1, 16));
        stream.read_exact(&mut messages)
    }

    #[test]
    fn a_pause_of_the_client_at_either_end_is_not_the_servers() -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let plan = Plan {
            connections: 2,
            warmup: Duration::ZERO,
            length: Length::Messages(1),
            ..Plan::new(listener.local_addr()?)
        };
        let (shared, _notices) = Shared::new(&plan, &Stop::default());
        let mut worker = Worker::new(&shared, 0)?;
        assert_eq!(worker.connect()?, 2);
        let opened = worker.now();
        worker.tick(opened)?;
        let passes = |worker: &Worker<'_>, time| {
            while worker.now() < time {
                std::thread::yield_now();
            }
        };
        passes(&worker, opened + 1_000_000);
        worker.begin_first()?;
        assert_eq!(worker.course.tally.between, worker.begun_at[0] - opened, "one message waited");
        let (mut stream, mut message) = (listener.accept()?.0, [0; 12]);
        stream.read_exact(&mut message)?;
        stream.write_all(&message)?;
        answered(&mut worker)?;
        let answered = worker.now();
        passes(&worker, answered + 1_000_000);
        worker.tick(worker.now())?;
        let closed = worker.course.tally.closed;
        assert!(closed.is_some_and(|closed| closed <= answered), "the window ends with its last message");
        Ok(())
    }

    #[test]
    fn a_message_due_at_the_windows_end_gets_a_new_connection() -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let plan = Plan {
            connections: 1,
            pace: Pace::Rate(1000.0),
            reconnect: Some(Close::Reset.after(1)),
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
        answered(&mut worker)?;
        assert_eq!((worker.course.under_way, worker.connections[0].under_way()), (1, 1));
        Ok(())
    }
}
