//! Serves connections with faults.
//!
//! Before each call, the faults of a connection say what it may send or receive, and when to ask them again. They are
//! part of its extras. Its pause keeps it out of the code that serves connections without faults.

use std::time::Duration;

use parrot_conn::fault::{Arrival, Ending, FaultKind, Faults, Input, Permit};
use parrot_conn::{CloseReason, NoSpace};

use super::conversation::{BYTES_PER_SERVING, Conversation, LEAST_PER_CALL, Pause, Served, Step};
use super::deadlines::Due;
use super::means::Means;
use super::moment::Moment;
use super::serving::Borrow;
use super::state::EventLoop;
use crate::faults::PlannedFaults;
use crate::host::{ConnectionKey, Host};

/// What one call takes of input that is not echoed. It needs no buffer of the pool.
const DISCARDED_PER_CALL: usize = 4 * 1024;

/// The faults of a connection.
#[derive(Debug)]
pub(super) struct Faulty {
    faults: Box<Faults>,
    /// When the connection counts as accepted.
    since: Moment,
    /// When the faults are asked again, the next time last. There is a deadline for each of these.
    asks: Vec<Moment>,
    /// Their kinds, as the log names them.
    names: String,
}

/// What a new connection gets.
#[derive(Debug)]
pub(super) enum Welcome {
    /// It is served, perhaps with faults.
    Served(Option<Box<Faulty>>),
    /// It is reset at once.
    Refused,
}

impl Faulty {
    /// When the connection counts as accepted. What it sends is left in its socket until then.
    pub(super) fn since(&self) -> Moment {
        self.since
    }

    /// Their kinds, as the log names them.
    pub(super) fn names(&self) -> &str {
        &self.names
    }

    fn age(&self, now: Moment) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// What is permitted now. Before the connection counts as accepted, nothing is.
    fn permit(&mut self, pending: usize, now: Moment) -> Permit {
        if now < self.since {
            return Permit { send: 0, input: Input::Wait, ending: None, again: Some(Duration::ZERO) };
        }
        let age = self.age(now);
        self.faults.permit(pending, age)
    }

    /// Notes that the faults are to be asked again at this time. Returns it if there is no deadline yet that comes as early.
    fn ask_again(&mut self, at: Moment) -> Option<Moment> {
        if self.asks.last().is_some_and(|ask| *ask <= at) {
            return None;
        }
        self.asks.push(at);
        Some(at)
    }
}

impl PlannedFaults {
    /// What the next connection gets that arrives now.
    pub(super) fn welcome<H>(&self, means: &Means<H>) -> Welcome {
        let number = self.next_connection();
        let Arrival::Accepted(delay) = self.plan.arrival(number) else {
            means.counters().fault(FaultKind::Refuse);
            return Welcome::Refused;
        };
        let Some(faults) = self.plan.connection(number) else { return Welcome::Served(None) };
        faults.kinds().iter().for_each(|kind| means.counters().fault(*kind));
        let names: Vec<&str> = faults.kinds().iter().map(|kind| kind.as_str()).collect();
        let (names, since) = (names.join(","), means.now + delay);
        Welcome::Served(Some(Box::new(Faulty { faults, since, asks: Vec::new(), names })))
    }
}

impl<Socket> Conversation<Socket> {
    fn faulty(&mut self) -> Option<&mut Faulty> {
        self.extras.as_mut().and_then(|extras| extras.faulty.as_deref_mut())
    }

    /// How the connection is served when nothing is short.
    pub(super) fn usual_pause(&self) -> Pause {
        let has_faults = self.extras.as_ref().is_some_and(|extras| extras.faulty.is_some());
        if has_faults { Pause::Faults } else { Pause::No }
    }

    /// Whether the connection's faults are asked again at this time.
    pub(super) fn asks_at(&self, at: Moment) -> bool {
        let faulty = self.extras.as_ref().and_then(|extras| extras.faulty.as_deref());
        faulty.is_some_and(|faulty| faulty.asks.contains(&at))
    }

    /// Notes that the time to ask has come.
    fn stop_asking_at(&mut self, at: Moment) -> bool {
        self.faulty().is_some_and(|faulty| faulty.asks.pop_if(|ask| *ask == at).is_some())
    }

    /// Whether faults leave the connection's input in its socket, so that it shows nothing of its peer.
    pub(super) fn leaves_input(&mut self, now: Moment) -> bool {
        let pending = self.connection.to_send().len();
        self.faulty().is_some_and(|faulty| faulty.permit(pending, now).input == Input::Wait)
    }

    /// Sends and receives what the faults permit, within the share of a turn. Returns when to ask them again, too, if that
    /// is before every other time to ask.
    pub(super) fn serve_with_faults<H: Host<Socket = Socket>>(
        &mut self,
        means: &mut Means<H>,
        may_borrow: bool,
    ) -> (Served, Option<Moment>) {
        let mut budget = BYTES_PER_SERVING;
        let (served, again) = loop {
            let has_ended = self.connection.has_input_ended();
            let pending = self.connection.to_send().len();
            let Some(faulty) = self.faulty() else { break (Served::Waiting, None) };
            if has_ended {
                faulty.faults.received_end();
            }
            let permit = faulty.permit(pending, means.now);
            self.follow_to_the_end(permit, means);
            if let Some(reason) = self.connection.close_reason() {
                break (Served::Closed(reason), None);
            }
            if permit.ending.is_some() {
                continue;
            }
            let served = match self.step_with_faults(permit, &mut budget, means, may_borrow) {
                Ok(true) => continue,
                Ok(false) => Served::Waiting,
                Err(served) => served,
            };
            break (served, permit.again);
        };
        self.connection.release(&mut means.pool);
        let again = self.faulty().and_then(|faulty| faulty.ask_again(faulty.since.checked_add(again?)?));
        (served, again)
    }

    /// Sends a piece, or receives if nothing may be sent. False if nothing can be done now.
    fn step_with_faults<H: Host<Socket = Socket>>(
        &mut self,
        permit: Permit,
        budget: &mut usize,
        means: &mut Means<H>,
        may_borrow: bool,
    ) -> Result<bool, Served> {
        let sends = permit.send > 0 && !self.readiness.is_blocked();
        // A header is no input, and it is complete before anything can be echoed.
        let has_begun = self.faulty().is_some_and(|faulty| faulty.since <= means.now);
        let input = if self.awaits_header() && has_begun { Input::Echo } else { permit.input };
        if input == Input::Discard {
            self.connection.discard();
        }
        let step = if sends {
            if *budget == 0 {
                return Err(Served::Unfinished);
            }
            Ok(self.send_with_faults(permit.send, means))
        } else if !self.readiness.is_readable() {
            return Ok(false);
        } else if input == Input::Wait {
            return self.find_peer_gone(means);
        } else if *budget == 0 {
            return Err(Served::Unfinished);
        } else if self.connection.has_input_ended() {
            // Only faults keep such a connection open, and an event behind the end is an error.
            return self.find_peer_gone(means);
        } else if input == Input::Discard {
            Ok(self.receive_and_discard(means))
        } else {
            self.receive_with_faults(means, may_borrow)
        };
        let used = match step {
            Ok(Step::Moved(n)) => n.max(LEAST_PER_CALL),
            Ok(Step::Interrupted) => LEAST_PER_CALL,
            Ok(Step::Blocked) => {
                if sends {
                    self.readiness.filled();
                }
                0
            }
            Ok(Step::Exhausted) | Err(NoSpace::NoMemory) => return Err(Served::Paused),
            Ok(Step::Failed(reason)) => {
                self.connection.close(reason);
                0
            }
            Err(NoSpace::PoolEmpty) => return Err(Served::NoBuffer),
            // The faults or the queue say when to send, and then there is space again.
            Err(NoSpace::OutputFull) => return Ok(false),
            Err(NoSpace::InputEnded) => {
                self.readiness.ended();
                0
            }
        };
        *budget = budget.saturating_sub(used);
        Ok(true)
    }

    /// Takes the step in the connection's end that is due, or the one that a drain asks for.
    fn follow_to_the_end<H: Host<Socket = Socket>>(&mut self, permit: Permit, means: &mut Means<H>) {
        let drained = self.connection.is_draining() && self.connection.wants_shut_down();
        let has_ended = self.connection.has_input_ended();
        let Some(faulty) = self.faulty() else { return };
        let reason = faulty.faults.close_reason().unwrap_or(CloseReason::PeerFinished);
        let (since, was_shut_down) = (faulty.since, faulty.faults.is_shut_down());
        match permit.ending {
            Some(Ending::Reset | Ending::Close) => self.connection.close(reason),
            _ if was_shut_down && has_ended => self.connection.close(reason),
            Some(Ending::Finish) => {
                self.connection.discard();
                // At the peer's end nothing is unread, so that the close which follows sends the FIN.
                if has_ended {
                    return self.connection.close(reason);
                }
                if let Err(error) = means.host.shut_down(&self.socket)
                    && let Step::Failed(failed) = self.failed(&error)
                {
                    return self.connection.close(failed);
                }
                let now = means.now.saturating_duration_since(since);
                if let Some(faulty) = self.faulty() {
                    faulty.faults.shut_down(now);
                }
            }
            None if drained && !was_shut_down => self.shut_down(means),
            None => {}
        }
    }

    fn send_with_faults<H: Host<Socket = Socket>>(&mut self, most: usize, means: &mut Means<H>) -> Step {
        let before = self.connection.to_send().len();
        let step = self.send_front(most, means).unwrap_or(Step::Moved(0));
        let sent = before - self.connection.to_send().len();
        if let Some(faulty) = self.faulty() {
            faulty.faults.sent(sent, faulty.age(means.now));
        }
        step
    }

    /// Receives what is to be echoed. What it adds to the pending bytes is a message of the faults.
    fn receive_with_faults<H: Host<Socket = Socket>>(
        &mut self,
        means: &mut Means<H>,
        may_borrow: bool,
    ) -> Result<Step, NoSpace> {
        let before = self.connection.to_send().len();
        let step = self.receive_in_turn(means, may_borrow);
        let added = self.connection.to_send().len().saturating_sub(before);
        if added > 0
            && let Some(faulty) = self.faulty()
        {
            faulty.faults.received(added, faulty.age(means.now));
        }
        step
    }

    fn receive_and_discard<H: Host<Socket = Socket>>(&mut self, means: &mut Means<H>) -> Step {
        let mut space = [0; DISCARDED_PER_CALL];
        let room = space.len();
        match means.host.receive(&self.socket, &mut space) {
            Ok(0) => self.end(),
            Ok(n) => {
                let names = self.extras.as_ref().and_then(|extras| extras.faulty.as_deref());
                let names = names.map_or("", Faulty::names);
                means.host.message_with_faults(&self.peer, names, space.get(..n).unwrap_or_default());
                let counters = means.counters();
                counters.messages.add(1);
                counters.bytes_in.add(n as u64);
                counters.bytes_discarded.add(n as u64);
                self.last_activity = means.now;
                if self.readiness.received(n, room) {
                    self.connection.input_emptied();
                }
                Step::Moved(n)
            }
            Err(error) => self.not_received(&error),
        }
    }

    /// Finds out without receiving that the peer has reset the connection, because a stall or a timeout can last for ever.
    fn find_peer_gone<H: Host<Socket = Socket>>(&mut self, means: &mut Means<H>) -> Result<bool, Served> {
        let has_ended = self.connection.has_input_ended();
        if !self.readiness.must_read_on() && !has_ended {
            return Ok(false);
        }
        let step = match means.host.peek(&self.socket, &mut [0]) {
            Ok(_) if has_ended => {
                self.readiness.ended();
                return Ok(false);
            }
            Ok(0) if self.connection.is_draining() => self.end(),
            Ok(_) => return Ok(false),
            Err(error) => self.not_received(&error),
        };
        match step {
            Step::Failed(reason) => self.connection.close(reason),
            Step::Exhausted => return Err(Served::Paused),
            Step::Interrupted => return Err(Served::Unfinished),
            Step::Moved(_) | Step::Blocked => {}
        }
        Ok(true)
    }
}

impl<H: Host> EventLoop<H> {
    /// Serves a connection whose pause is not [`Pause::No`]. One that the system has no memory for is left alone.
    #[cold]
    pub(super) fn serve_unusual(&mut self, key: ConnectionKey, may_borrow: bool) {
        let Some(conversation) = self.connections.get_mut(key).filter(|found| found.pause == Pause::Faults) else {
            return;
        };
        let (served, again) = conversation.serve_with_faults(&mut self.means, may_borrow);
        if let Some(again) = again {
            self.deadlines.push(again, Due::Extras(key));
        }
        self.follow_up(key, served);
    }

    /// Asks a connection's faults again, and closes it if its header is late.
    pub(super) fn handle_extras(&mut self, key: ConnectionKey, at: Moment) {
        let Some(conversation) = self.connections.get_mut(key) else { return };
        if conversation.stop_asking_at(at) {
            self.serve(key, Borrow::InTurn);
        }
        let now = self.means.now;
        if self.connections.get(key).is_some_and(|conversation| conversation.is_header_late(now)) {
            self.handle_header_timeout(key);
        }
    }
}
