//! Opening and ending a thread's connections.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use parrot_kqueue::{Change, Events, Source, Token};

use super::stages::{Stage, TICK};
use super::{EVENTS, Worker, wait};
use crate::dial;
use crate::failure::Failure;
use crate::link::Phase;
use crate::plan::{Close, nanoseconds};

/// Connections being opened at once by one thread: below the smallest backlog that systems allow by default (128).
const DIALING: usize = 100;
/// How often a connection is dialed before it counts as failed: some systems refuse one spuriously (libuv#2503).
const ATTEMPTS: u32 = 3;

impl Worker<'_> {
    /// Opens the connections; with a connection for each message only the idle ones. Says how many are open.
    pub(crate) fn connect(&mut self) -> io::Result<usize> {
        let mut events = Events::with_capacity(EVENTS);
        let mut next = self.first_kept();
        loop {
            while self.dialing < DIALING && next < self.links.len() && !self.shared.stopped() {
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
            self.give_up_slow(self.now())?;
        }
    }

    /// The first of the connections that are to stay open; after it come no others.
    fn first_kept(&self) -> usize {
        if self.plan.reconnect.is_some() { self.sending } else { 0 }
    }

    /// How many of those are open.
    pub(super) fn open(&self) -> usize {
        self.links.iter().skip(self.first_kept()).filter(|link| link.phase == Phase::Open).count()
    }

    pub(super) fn dial(&mut self, index: usize) -> io::Result<()> {
        let now = self.now();
        let (number, reconnect) = (self.first + index, self.plan.reconnect.is_some() && index < self.sending);
        let Some(link) = self.links.get_mut(index) else { return Ok(()) };
        link.dialed_at = now;
        link.attempts += 1;
        let stream = match dial::start(self.plan, number) {
            Ok(stream) => stream,
            Err(error) => return self.refused(index, &error),
        };
        let stream = link.stream.insert(stream);
        link.phase = Phase::Dialing;
        self.dialing += 1;
        // On loopback a connection is usually open by now, and its message can go out without waiting to be told.
        let outcome = if reconnect { dial::connected(stream) } else { Ok(false) };
        if matches!(outcome, Ok(false)) {
            let write = Change::add_write(stream.as_fd(), Token(index));
            link.write_armed = true;
            return self.kqueue.apply(&[write.edge()]).all();
        }
        self.dialed(index, outcome)
    }

    /// Looks whether a connection being opened is open.
    pub(super) fn try_dialed(&mut self, index: usize) -> io::Result<()> {
        let Some(stream) = self.links.get(index).and_then(|link| link.stream.as_ref()) else { return Ok(()) };
        let outcome = dial::connected(stream);
        self.dialed(index, outcome)
    }

    /// Goes on as dialing went. The outcome is asked for once: the system forgets a socket's error when it tells it.
    fn dialed(&mut self, index: usize, outcome: io::Result<bool>) -> io::Result<()> {
        let Some(link) = self.links.get_mut(index).filter(|link| link.phase == Phase::Dialing) else { return Ok(()) };
        let Some(stream) = &link.stream else { return Ok(()) };
        match outcome {
            Ok(false) => Ok(()),
            Ok(true) => {
                let read = Change::add_read(stream.as_fd(), Token(index));
                self.kqueue.apply(&[read.edge()]).all()?;
                link.phase = Phase::Open;
                self.dialing -= 1;
                let took = self.shared.now() - link.dialed_at;
                self.tally.connecting.record(took);
                self.flush(index)
            }
            Err(error) => self.refused(index, &error),
        }
    }

    /// Dials again if that may help, else counts the connection as failed.
    fn refused(&mut self, index: usize, error: &io::Error) -> io::Result<()> {
        let again = self.start == 0 && self.links.get(index).is_some_and(|link| link.attempts < ATTEMPTS);
        if again {
            self.close(index, Phase::Closed);
            return self.dial(index);
        }
        self.shared.could_not_connect(error);
        self.fail(index, Failure::Connect)
    }

    /// Closes the socket of `index`, if it has one, deregistered first.
    pub(super) fn close(&mut self, index: usize, phase: Phase) {
        let Some(link) = self.links.get_mut(index) else { return };
        self.dialing -= usize::from(link.phase == Phase::Dialing);
        let (dialing, write_armed) = (link.phase == Phase::Dialing, link.write_armed);
        let Some(stream) = link.reset(phase) else { return };
        // What is not there any more need not be deleted: an answer of "not found" is as good.
        if !dialing {
            let _ = self.kqueue.apply(&[Change::delete(Source::Read(stream.as_fd()))]).all();
        }
        if write_armed {
            let _ = self.kqueue.apply(&[Change::delete(Source::Write(stream.as_fd()))]).all();
        }
        dial::end(stream, self.plan.reconnect.unwrap_or(Close::Finish));
    }

    /// Counts a failure and gives the connection up.
    pub(super) fn fail(&mut self, index: usize, failure: Failure) -> io::Result<()> {
        let now = self.now();
        let sends = index < self.sending;
        let Some(link) = self.links.get_mut(index) else { return Ok(()) };
        let lost = link.under_way();
        self.tally.failures.count(failure);
        if sends {
            self.charge_unanswered(index, now);
        }
        self.under_way -= lost;
        if self.stage == Stage::Window {
            self.tally.lost += lost;
        }
        // With a connection for each message the next one may be better off; the tick dials it.
        let reusable = sends && self.plan.reconnect.is_some();
        self.close(index, if reusable { Phase::Closed } else { Phase::Dead });
        if sends && !reusable {
            self.alive -= 1;
        }
        self.look_if_full();
        Ok(())
    }

    /// Fails what has taken too long.
    pub(super) fn give_up_slow(&mut self, now: u64) -> io::Result<()> {
        let limit = nanoseconds(self.plan.timeout);
        for index in 0..self.links.len() {
            let Some(link) = self.links.get(index) else { break };
            let since = match link.phase {
                Phase::Dialing => link.dialed_at,
                Phase::Open if link.under_way() > 0 => self.asked_at(index, link.answered),
                _ => continue,
            };
            if now.saturating_sub(since) > limit {
                if link.phase == Phase::Dialing {
                    self.shared.could_not_connect(&format!("no answer within {:?}", self.plan.timeout));
                }
                self.fail(index, Failure::Timeout)?;
            }
        }
        Ok(())
    }
}
