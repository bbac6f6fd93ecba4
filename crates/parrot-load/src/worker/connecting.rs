//! Opens and closes a thread's connections.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use parrot_kqueue::{Change, Events, Source, Token};

use super::stages::{Stage, TICK};
use super::{EVENTS, Worker, wait};
use crate::connection::Phase;
use crate::dial;
use crate::failure::Failure;
use crate::plan::{Close, nanoseconds};

/// Connections that one thread opens at once, below the smallest backlog that systems allow by default (128).
const DIALING: usize = 100;
/// How often a connection is dialed before it counts as failed. Some systems refuse one spuriously (libuv#2503).
const ATTEMPTS: u32 = 3;

impl Worker<'_> {
    /// Opens the connections that are to stay open and returns how many of them are.
    pub(crate) fn connect(&mut self) -> io::Result<usize> {
        let mut events = Events::with_capacity(EVENTS);
        let mut next = self.first_kept();
        loop {
            while self.dialing < DIALING && next < self.connections.len() && !self.shared.stopped() {
                self.dial(next)?;
                next += 1;
            }
            if self.dialing == 0 || self.shared.stopped() {
                return Ok(self.open());
            }
            wait(&self.kqueue, &mut events, Duration::from_nanos(TICK))?;
            for event in events.iter() {
                self.handle(event)?;
            }
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

    pub(super) fn dial(&mut self, index: usize) -> io::Result<()> {
        let now = self.now();
        let (number, reconnect) = (self.first + index, self.plan.reconnect.is_some() && index < self.sending);
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        connection.dialed_at = now;
        connection.attempts += 1;
        let stream = match dial::start(self.plan, number) {
            Ok(stream) => stream,
            Err(error) => return self.refused(index, &error),
        };
        let stream = connection.stream.insert(stream);
        connection.phase = Phase::Dialing;
        self.dialing += 1;
        // On loopback a connection is usually open by now, and its message need not wait for an event.
        let outcome = if reconnect { dial::connected(stream) } else { Ok(false) };
        if matches!(outcome, Ok(false)) {
            let write = Change::add_write(stream.as_fd(), Token(index));
            connection.write_armed = true;
            return self.kqueue.apply(&[write.edge()]).all();
        }
        self.dialed(index, outcome)
    }

    /// Checks whether a connection that is being opened is open.
    pub(super) fn try_dialed(&mut self, index: usize) -> io::Result<()> {
        let Some(stream) = self.connections.get(index).and_then(|one| one.stream.as_ref()) else { return Ok(()) };
        let outcome = dial::connected(stream);
        self.dialed(index, outcome)
    }

    /// Acts on the outcome of dialing, which can be read only once because that clears the socket's error.
    fn dialed(&mut self, index: usize, outcome: io::Result<bool>) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(index).filter(|one| one.is_dialing()) else { return Ok(()) };
        let Some(stream) = &connection.stream else { return Ok(()) };
        match outcome {
            Ok(false) => Ok(()),
            Ok(true) => {
                let read = Change::add_read(stream.as_fd(), Token(index));
                self.kqueue.apply(&[read.edge()]).all()?;
                connection.phase = Phase::Open;
                self.dialing -= 1;
                let took = self.shared.now() - connection.dialed_at;
                self.tally.connecting.record(took);
                self.flush(index)
            }
            Err(error) => self.refused(index, &error),
        }
    }

    /// Dials again if that may help, and otherwise counts the connection as failed.
    fn refused(&mut self, index: usize, error: &io::Error) -> io::Result<()> {
        if self.start == 0 && self.connections.get(index).is_some_and(|one| one.attempts < ATTEMPTS) {
            self.close(index, Phase::Closed);
            return self.dial(index);
        }
        self.shared.could_not_connect(error);
        self.fail(index, Failure::Connect)
    }

    /// Deregisters and closes the socket of connection `index`, if it has one.
    pub(super) fn close(&mut self, index: usize, phase: Phase) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let (dialing, write_armed) = (connection.is_dialing(), connection.write_armed);
        self.dialing -= usize::from(dialing);
        let Some(stream) = connection.reset(phase) else { return };
        // A registration that is already gone is as good as deleted, so errors do not matter.
        if !dialing {
            let _ = self.kqueue.apply(&[Change::delete(Source::Read(stream.as_fd()))]).all();
        }
        if write_armed {
            let _ = self.kqueue.apply(&[Change::delete(Source::Write(stream.as_fd()))]).all();
        }
        dial::close(stream, self.plan.reconnect.unwrap_or(Close::Finish));
    }

    /// Counts a failure and gives the connection up.
    pub(super) fn fail(&mut self, index: usize, failure: Failure) -> io::Result<()> {
        let now = self.now();
        let sends = index < self.sending;
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        let lost = connection.under_way();
        self.tally.failures.count(failure);
        if sends {
            self.charge_unanswered(index, now);
        }
        self.under_way -= lost;
        if self.stage == Stage::Window {
            self.tally.lost += lost;
        }
        // With a connection for each message the next one may fare better. The tick dials it.
        let reusable = sends && self.plan.reconnect.is_some();
        self.close(index, if reusable { Phase::Closed } else { Phase::Dead });
        if sends && !reusable {
            self.alive -= 1;
        }
        self.tick_if_full();
        Ok(())
    }

    /// Fails what has taken too long.
    pub(super) fn fail_slow(&mut self, now: u64) -> io::Result<()> {
        let limit = nanoseconds(self.plan.timeout);
        for index in 0..self.connections.len() {
            let Some(connection) = self.connections.get(index) else { break };
            let since = match connection.phase {
                Phase::Dialing => connection.dialed_at,
                Phase::Open if connection.under_way() > 0 => self.begun_at(index, connection.answered),
                _ => continue,
            };
            if now.saturating_sub(since) > limit {
                if connection.is_dialing() {
                    self.shared.could_not_connect(&format!("no answer within {:?}", self.plan.timeout));
                }
                self.fail(index, Failure::Timeout)?;
            }
        }
        Ok(())
    }
}
