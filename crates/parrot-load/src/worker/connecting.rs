//! Opens and closes a thread's connections.

use std::io;
use std::os::fd::AsFd;

use parrot_kqueue::{Change, Events, Source, Token};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::{EVENTS, Worker, kind, wait};
use crate::connection::Phase;
use crate::course::{Stage, TICK};
use crate::failure::Failure;
use crate::plan::{Close, nanoseconds};
use crate::target::Target;
use crate::{dial, proxy};

/// Connections that one thread opens at once, below the smallest backlog that systems allow by default (128).
const DIALING: usize = 100;
/// How often a connection is dialed before it counts as failed. Some systems refuse one spuriously (libuv#2503).
const ATTEMPTS: u32 = 3;
/// How long to wait before dialing a server again that has no room in its backlog, in nanoseconds.
const BACKLOG: u64 = 1_000_000;

impl Worker<'_> {
    /// Opens the connections that are to stay open and returns how many of them are.
    ///
    /// If there are several targets and those that send are opened later, one more is opened and closed again, because
    /// the target must be chosen before the load begins.
    pub(crate) fn connect(&mut self) -> io::Result<usize> {
        let mut events = Events::with_capacity(EVENTS);
        let mut next = self.first_kept();
        let probes = self.plan.targets.len() > 1 && self.plan.reconnect.is_some() && self.first == 0;
        if probes {
            self.open_in_turn(0)?;
        }
        loop {
            while next < self.connections.len() && self.may_open_another() && !self.shared.stopped() {
                self.open_in_turn(next)?;
                next += 1;
            }
            if (self.opening == 0 && self.queued.is_empty()) || self.shared.stopped() {
                if probes {
                    self.close(0, Phase::Closed);
                }
                return Ok(self.open());
            }
            wait(&self.kqueue, &mut events, self.patience_for_dialing(TICK))?;
            for event in events.iter() {
                self.handle(event)?;
            }
            self.dial_waiting()?;
            self.take_turns()?;
            self.fail_slow(self.now())?;
        }
    }

    /// The first connection that is to stay open. All that follow it are, too.
    fn first_kept(&self) -> usize {
        if self.plan.reconnect.is_some() { self.sending } else { 0 }
    }

    /// How many of the connections that are to stay open are open.
    pub(super) fn open(&self) -> usize {
        self.connections.iter().skip(self.first_kept()).filter(|one| one.is_open()).count()
    }

    /// Whether another connection may be opened while some are not open yet.
    fn may_open_another(&self) -> bool {
        match self.plan.connect_rate {
            None => self.opening < DIALING,
            // A thread takes one turn at a time, so that the turns go round the threads.
            Some(_) => self.queued.is_empty(),
        }
    }

    /// Opens connection `index` when its turn comes, or at once if connections are not opened at a rate. It was to be
    /// opened from the start of the run on.
    fn open_in_turn(&mut self, index: usize) -> io::Result<()> {
        if self.takes_turn(index, 0) { self.dial(index) } else { Ok(()) }
    }

    /// Takes a turn to open connection `index`, which was to be opened from `since` on. False if it has yet to come.
    fn takes_turn(&mut self, index: usize, since: u64) -> bool {
        let (Some(turns), now) = (&self.shared.turns, self.now()) else { return true };
        let turn = turns.take(since);
        if turn > now
            && let Some(connection) = self.connections.get_mut(index)
        {
            connection.phase = Phase::Queued;
            connection.left = 0;
            self.queued.push_back((turn, index));
        }
        turn <= now
    }

    /// Whether connection `index` may send now. If it is closed and has messages to send, it has to take a turn first.
    #[inline(never)]
    pub(super) fn may_send(&mut self, index: usize) -> bool {
        let Some(connection) = self.connections.get(index) else { return false };
        let wanted = match self.course.schedule {
            Some(_) => connection.owed,
            None => connection.left.min(self.course.budget),
        };
        connection.phase != Phase::Closed || (wanted > 0 && self.takes_turn(index, self.now()))
    }

    /// Opens the connections whose turn has come. Those that are opened again and again begin their messages only now, so
    /// waiting for a turn is not part of the time of a closed loop's messages.
    pub(super) fn take_turns(&mut self) -> io::Result<()> {
        while let Some((turn, index)) = self.queued.front().copied()
            && turn <= self.now()
        {
            self.queued.pop_front();
            // One that was given up may be queued again.
            let Some(connection) = self.connections.get_mut(index).filter(|one| one.phase == Phase::Queued) else {
                continue;
            };
            connection.phase = Phase::Closed;
            connection.left = self.limit;
            if index < self.first_kept() && self.course.has_begun() {
                self.begin_all(index, self.now())?;
            } else {
                self.dial(index)?;
            }
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn dial(&mut self, index: usize) -> io::Result<()> {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        connection.dialed_at = now;
        connection.attempts += 1;
        connection.phase = Phase::Dialing;
        self.opening += 1;
        self.start_dialing(index)
    }

    /// Dials connections that wait for room in the server's backlog, until it is full again.
    pub(super) fn dial_waiting(&mut self) -> io::Result<()> {
        let mut waiting = std::mem::take(&mut self.waiting).into_iter();
        while self.waiting.is_empty()
            && let Some(index) = waiting.next()
        {
            // One that has timed out may have been given up since, or dialed again.
            if self.connections.get(index).is_some_and(|one| one.phase == Phase::Dialing && one.stream.is_none()) {
                self.start_dialing(index)?;
            }
        }
        self.waiting.extend(waiting);
        Ok(())
    }

    /// How long to wait for events, if it is no more than `nanoseconds`.
    pub(super) fn patience_for_dialing(&self, nanoseconds: u64) -> u64 {
        let turn = self.queued.front().map_or(nanoseconds, |(turn, _)| turn.saturating_sub(self.now()));
        let backlog = if self.waiting.is_empty() { nanoseconds } else { BACKLOG };
        nanoseconds.min(turn).min(backlog)
    }

    fn start_dialing(&mut self, index: usize) -> io::Result<()> {
        let (number, reconnect) = (self.first + index, self.plan.reconnect.is_some() && index < self.sending);
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        let target;
        (connection.target, target) = self.shared.targets.next();
        let stream = match dial::start(self.plan, target, number) {
            Ok(stream) => stream,
            Err(error) if dial::is_full(target, &error, !self.shared.targets.undecided()) => {
                self.waiting.push(index);
                return Ok(());
            }
            Err(error) => return self.refused(index, error, Failure::Connect),
        };
        let stream = connection.stream.insert(stream);
        // On loopback a connection is usually open by now, and its message need not wait for an event.
        let now = reconnect || matches!(target, Target::Unix(_));
        let outcome = if now { dial::connected(target, stream) } else { Ok(false) };
        if matches!(outcome, Ok(false)) {
            let write = Change::add_write(stream.as_fd(), Token(index));
            connection.write_armed = true;
            return self.kqueue.apply(&[write.edge()]).all();
        }
        self.dialed(index, outcome)
    }

    /// Checks whether a connection that is being opened is open.
    pub(super) fn try_dialed(&mut self, index: usize) -> io::Result<()> {
        let Some(connection) = self.connections.get(index) else { return Ok(()) };
        let Some(stream) = connection.stream.as_ref() else { return Ok(()) };
        let outcome = dial::connected(self.shared.targets.at(connection.target), stream);
        self.dialed(index, outcome)
    }

    /// Acts on the outcome of dialing, which can be read only once because that clears the socket's error.
    fn dialed(&mut self, index: usize, outcome: io::Result<bool>) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(index).filter(|one| one.phase == Phase::Dialing) else {
            return Ok(());
        };
        let Some(stream) = &connection.stream else { return Ok(()) };
        match outcome {
            Ok(false) => Ok(()),
            Ok(true) if !self.shared.targets.choose(connection.target) => {
                self.close(index, Phase::Closed);
                self.open_in_turn(index)
            }
            Ok(true) => {
                let read = Change::add_read(stream.as_fd(), Token(index));
                self.kqueue.apply(&[read.edge()]).all()?;
                connection.phase = Phase::Greeting;
                let took = self.shared.now() - connection.dialed_at;
                self.course.tally.connecting.record(took);
                if let Some(version) = self.plan.proxy {
                    let header = proxy::header(version, dial::addresses(stream));
                    // A new connection has room for it.
                    match dial::send(stream, &header) {
                        Ok(sent) if sent == header.len() => {}
                        sent => return self.fail(index, sent.err().map_or(Failure::System, kind)),
                    }
                }
                if self.plan.skip_greeting { Ok(()) } else { self.opened(index) }
            }
            // The server has taken the connection and reset it since. One that was never taken has another error.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                if !self.shared.targets.choose(connection.target) {
                    self.close(index, Phase::Closed);
                    return self.open_in_turn(index);
                }
                self.course.tally.connecting.record(self.shared.now() - connection.dialed_at);
                self.fail(index, Failure::Reset)
            }
            Err(error) => self.refused(index, error, Failure::Connect),
        }
    }

    /// How many connections the server has ended so far.
    pub(crate) fn ended(&self) -> u64 {
        self.course.tally.failures.ends.connections()
    }

    /// Reads past the line that the server sends first.
    pub(super) fn receive_greeting(&mut self, index: usize) -> io::Result<()> {
        loop {
            let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
            let Some(stream) = connection.stream.as_ref().filter(|_| connection.phase == Phase::Greeting) else {
                return Ok(());
            };
            let (error, failure) = match recv(stream, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((0, _)) => (no_greeting(), Failure::Greeting),
                Ok((count, _)) => match connection.greeted(self.buffer.get(..count).unwrap_or_default()) {
                    Ok(false) => continue,
                    Ok(true) => {
                        self.course.tally.greetings += 1;
                        return self.opened(index);
                    }
                    Err(failure) => (no_greeting(), failure),
                },
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => (errno.into(), kind(errno)),
            };
            return self.refused(index, error, failure);
        }
    }

    /// Begins to use a connection that is ready for messages.
    fn opened(&mut self, index: usize) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        connection.phase = Phase::Open;
        self.opening -= 1;
        self.flush(index)
    }

    /// Dials again if that may help, and otherwise counts the connection as failed.
    fn refused(&mut self, index: usize, error: io::Error, failure: Failure) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        let spurious = !self.course.has_begun() && failure == Failure::Connect && connection.attempts < ATTEMPTS;
        if !spurious {
            if !self.shared.targets.refused(connection.target, error) {
                return self.fail(index, failure);
            }
            connection.attempts = 0;
        }
        self.close(index, Phase::Closed);
        self.open_in_turn(index)
    }

    /// Deregisters and closes the socket of connection `index`, if it has one.
    pub(super) fn close(&mut self, index: usize, phase: Phase) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let (dialing, write_armed) = (connection.phase == Phase::Dialing, connection.write_armed);
        self.opening -= usize::from(connection.is_opening());
        connection.left = if phase == Phase::Dead { 0 } else { self.limit };
        let Some(stream) = connection.reset(phase) else { return };
        // A registration that is already gone is as good as deleted, so errors do not matter.
        if !dialing {
            let _ = self.kqueue.apply(&[Change::delete(Source::Read(stream.as_fd()))]).all();
        }
        if write_armed {
            let _ = self.kqueue.apply(&[Change::delete(Source::Write(stream.as_fd()))]).all();
        }
        dial::close(stream, self.plan.reconnect.map_or(Close::Finish, |reconnect| reconnect.close));
    }

    /// Counts a failure and gives the connection up.
    pub(super) fn fail(&mut self, index: usize, failure: Failure) -> io::Result<()> {
        let now = self.now();
        let sends = index < self.sending;
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        let lost = connection.under_way();
        self.course.tally.failures.count(failure);
        self.course.tally.failures.ends.count(failure, connection.back);
        if sends {
            self.charge_unanswered(index, now);
        }
        self.course.under_way -= lost;
        if self.course.stage == Stage::Window {
            self.course.tally.lost += lost;
        }
        // If connections are opened again and again, the next one may fare better. The tick dials it.
        let reusable = sends && self.plan.reconnect.is_some();
        self.close(index, if reusable { Phase::Closed } else { Phase::Dead });
        if sends && !reusable {
            self.alive -= 1;
        }
        self.course.tick_if_full(now, self.hopeless());
        Ok(())
    }

    /// Fails what has taken too long.
    pub(super) fn fail_slow(&mut self, now: u64) -> io::Result<()> {
        let limit = nanoseconds(self.plan.timeout);
        for index in 0..self.connections.len() {
            let Some(connection) = self.connections.get(index) else { break };
            let since = match connection.phase {
                Phase::Dialing | Phase::Greeting => connection.dialed_at,
                Phase::Open if connection.under_way() > 0 => self.begun_at(index, connection.answered),
                _ => continue,
            };
            if now.saturating_sub(since) > limit {
                match connection.phase {
                    Phase::Dialing => {
                        let error = format!("no answer within {:?}", self.plan.timeout);
                        self.refused(index, io::Error::new(io::ErrorKind::TimedOut, error), Failure::Timeout)?;
                    }
                    Phase::Greeting => self.refused(index, no_greeting(), Failure::Greeting)?,
                    _ => self.fail(index, Failure::Timeout)?,
                }
            }
        }
        Ok(())
    }
}

/// The error of a server that did not send the line that was to be skipped.
fn no_greeting() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no greeting came first")
}
