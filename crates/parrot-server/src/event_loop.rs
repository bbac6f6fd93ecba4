//! The loop: each turn is one wait, then its events, then what earlier turns left over, then what is due.
//!
//! `state` has what the loop holds, `accepting` takes new connections, `serving` chooses who is served, and `conversation`
//! moves the bytes of one connection.

mod accepting;
mod acceptor;
mod changes;
mod connections;
mod conversation;
mod datagrams;
mod deadlines;
mod doubtful;
mod drain;
mod extras;
mod faults;
mod held_datagrams;
mod idle;
mod lists;
mod long_turns;
mod means;
mod moment;
mod readiness;
mod seldom;
mod serving;
mod shortage;
pub mod simulation;
mod state;
mod timing;

use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub(crate) use self::changes::{Change, Changes};
use self::idle::is_wanted;
use self::lists::LEFTOVERS_PER_TURN;
pub(crate) use self::means::Shared;
use self::moment::Moment;
use self::serving::Borrow;
pub use self::state::Ended;
pub(crate) use self::state::EventLoop;
use crate::host::{Event, Host};

impl<H: Host> EventLoop<H> {
    /// Turns until the server has ended.
    ///
    /// # Errors
    ///
    /// When the queue cannot be waited on.
    pub fn run(&mut self) -> io::Result<Ended> {
        loop {
            if let ControlFlow::Break(ended) = self.turn()? {
                return Ok(ended);
            }
        }
    }

    /// One turn.
    ///
    /// # Errors
    ///
    /// When the queue cannot be waited on. An interrupted wait is not an error.
    pub fn turn(&mut self) -> io::Result<ControlFlow<Ended>> {
        let due = self.next_deadline();
        let timeout = self.timeout(due);
        match self.means.host.wait(timeout) {
            Ok(()) => {}
            // The signal, if it is one of ours, is an event of the next turn.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        self.means.now = self.means.read_clock();
        self.means.counters().turns.add(1);

        // Counted before the events and a drain, so that what they leave over waits for the next turn.
        let leftovers = self.lists.unfinished().min(LEFTOVERS_PER_TURN);
        self.leave_in_time();
        let mut events = 0;
        while let Some(event) = self.means.host.next_event() {
            events += 1;
            if let ControlFlow::Break(ended) = self.handle_event(event) {
                return Ok(ControlFlow::Break(ended));
            }
        }
        self.serve_ahead();
        if events > 0 {
            self.busy_until = self.limits.busy_poll.and_then(|busy_poll| self.means.now.checked_add(busy_poll));
        }
        self.serve_unfinished(leftovers);
        self.serve_waiting();
        self.look_again(events);
        // What this turn has made due is met in the next one, which does not sleep then.
        let met = due.filter(|due| *due <= self.means.now);
        if met.is_some() {
            self.handle_deadlines();
        }
        let progress = self.continue_drain();
        self.end_turn(met);
        Ok(progress)
    }

    fn handle_event(&mut self, event: Event) -> ControlFlow<Ended> {
        match event {
            Event::Readable { connection, read_on, available } => self.receive_ahead(connection, read_on, available),
            Event::Writable { connection } => {
                if let Some(conversation) = self.connections.get_mut(connection) {
                    conversation.readiness.report_writable();
                    self.serve(connection, Borrow::InTurn);
                }
            }
            Event::Backlog { listener, available } => {
                self.accept(listener, available);
            }
            Event::Datagrams { socket } => self.datagrams.serve(socket, &mut self.means),
            Event::Signal { signal, count } => return self.handle_signal(signal, count),
            Event::Wake => {
                self.make_changes();
                if self.means.shared.drain_wanted.load(Ordering::Acquire) {
                    self.start_drain();
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// How long the next wait may take, before the earliest deadline. `None`, forever, when nothing is left over and nothing
    /// will be due.
    fn timeout(&self, due: Option<Moment>) -> Option<Duration> {
        let accepting_last = self.acceptor.is_closing() && !self.acceptor.is_paused();
        let can_feed = self.lists.waiting() > 0 && self.means.pool.can_lend();
        let now = self.means.now;
        let busy = self.busy_until.is_some_and(|until| now < until);
        if self.lists.unfinished() > 0 || !self.doubtful.is_empty() || can_feed || accepting_last || busy {
            return Some(Duration::ZERO);
        }
        due.map(|due| due.saturating_duration_since(now))
    }

    /// The earliest of all deadlines.
    fn next_deadline(&mut self) -> Option<Moment> {
        let deadline = self.deadlines.next_wanted(|at, due| is_wanted(&self.connections, at, due));
        let interval = self.hooks.interval.as_ref().and_then(|interval| interval.due);
        let others = [self.acceptor.next_deadline(), self.datagrams.next_deadline(), self.stage_until, interval];
        others.into_iter().fold(deadline, earlier)
    }
}

/// The earlier of two deadlines, or the only one.
fn earlier(one: Option<Moment>, other: Option<Moment>) -> Option<Moment> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
