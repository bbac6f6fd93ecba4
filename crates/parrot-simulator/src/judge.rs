//! Checks the loop before each wait, when a wait blocks, after each turn, at each close and at the end.

use std::time::Duration;

use parrot_server::simulation::{Counters, Snapshot};
use parrot_server::{CloseReason, Ended};

use crate::check::Promise;
use crate::connection::{Connection, SetUp, Stage};
use crate::coverage::Point;
use crate::events::LONELY_WAITS;
use crate::host::{SimulatedHost, Tally, note};
use crate::memory::LONGEST_MEMORY_PAUSE;
use crate::share::{ACCEPTS_PER_TURN, LEFTOVERS_PER_TURN};
use crate::time::SECOND;

/// A connection that is ready is served within this many turns.
const PATIENCE: u32 = 8;
/// An idle connection is closed in the same turn, or within this many further turns if more than a thousand are idle.
const IDLE_CLOSE_TURNS: u32 = 2;
/// How often buffers may be given back before a waiting connection moves up one place. The connection before it may use
/// its share of the turn up with that many small messages.
const RETURNS_PER_PLACE: u64 = 80;
/// The most turns in a row without work and without a wait. One turn finds that nothing is left to do.
const IDLE_TURNS: u32 = 1;
/// The number of calls that use up a connection's share of the turn although they move few bytes.
const CALLS_IN_VAIN: u32 = 32;
/// The longest pause in accepting, for lack of descriptors or for any other reason.
const LONGEST_ACCEPT_PAUSE: u64 = SECOND;
/// A connection has two live deadlines at most. The loop may hold twice as many deadlines, and this many more.
const DEADLINES_SLACK: usize = 64;

impl SimulatedHost {
    /// The number of connections that the loop serves.
    pub(crate) fn served(&self) -> usize {
        self.open.iter().filter(|index| self.connections[**index].served()).count()
    }

    /// Whether a drain with a timeout has begun.
    pub(crate) fn ends_by_the_clock(&self) -> bool {
        self.drain_deadline.is_some_and(|due| due < u64::MAX)
    }

    pub(crate) fn start_turn(&mut self) {
        self.tally.turns += 1;
        self.calls_in_turn = 0;
        self.leftovers = 0;
        self.idle_closes = 0;
        self.batch.clear();
        for port in &mut self.ports {
            port.accepts_in_turn = 0;
            port.seen_empty = false;
        }
    }

    /// When a connection is due to be closed as idle if it was last active at `since`.
    pub(crate) fn idle_due(&self, since: u64) -> Option<u64> {
        let idle = self.plan.limits.idle_timeout?;
        Some(since + idle.as_nanos() as u64)
    }

    /// Whether no byte of the connection has moved for the idle timeout, less an eighth of it.
    ///
    /// The loop knows when the turn in which a byte moved began. It looks at when that turn ended only if the turn took
    /// longer than an eighth of the timeout.
    pub(crate) fn is_idle(&self, connection: &Connection) -> bool {
        let early = self.plan.limits.idle_timeout.map_or(0, |idle| idle.as_nanos() as u64 / 8);
        self.idle_due(connection.active).is_some_and(|due| due <= self.turn_time + early)
    }

    /// Whether the peer does not count as idle, because the loop has not received its input although there is room for
    /// it, or has no memory to look for input.
    fn is_excused(&self, connection: &Connection) -> bool {
        (connection.hinted && !self.is_full(connection))
            || connection.memory_short.is_some()
            || self.may_lack_buffer(connection)
    }

    /// Whether the connection's buffer has no room for what the peer sends.
    fn is_full(&self, connection: &Connection) -> bool {
        connection.owed() > 0 && connection.filled >= self.plan.limits.max_output as u64
    }

    /// When the loop has to close the connection as idle. The timeout starts again while the peer is excused.
    fn idle_close_due(&self, connection: &Connection) -> Option<u64> {
        self.idle_due(connection.active_until.max(connection.excused)).filter(|_| !self.is_excused(connection))
    }

    /// The latest end of a wait with this timeout, on the loop's clock.
    fn latest(&self, timeout: Option<Duration>) -> u64 {
        timeout.map_or(u64::MAX, |timeout| self.turn_time.saturating_add(timeout.as_nanos() as u64))
    }

    pub(crate) fn check_before_wait(&mut self, timeout: Option<Duration>) {
        let latest = self.latest(timeout);
        if self.drain_deadline.is_some_and(|due| latest > due) {
            self.broken(Promise::Drain, || "a wait goes past the drain timeout".to_owned());
        }
        let overslept = self.open.iter().copied().find(|&index| {
            let connection = &self.connections[index];
            connection.served() && self.idle_close_due(connection).is_some_and(|due| latest > due.max(self.turn_time))
        });
        if let Some(index) = overslept {
            self.broken(Promise::Idle, || format!("a wait goes past the idle timeout of connection {index}"));
        }
        let polls = self.plan.limits.busy_poll.zip(self.last_event).is_some_and(|(poll, since)| {
            let until = since + poll.as_nanos() as u64;
            self.turn_time < until
        });
        if polls {
            self.coverage.count(Point::BusyPoll);
            if timeout != Some(Duration::ZERO) {
                self.broken(Promise::Awake, || "the loop sleeps although it is to poll".to_owned());
            }
        }
        let idle = self.work == self.work_before && !self.waited && !polls;
        self.idle_turns = if idle { self.idle_turns + 1 } else { 0 };
        self.work_before = self.work;
        self.waited = false;
        if self.idle_turns > IDLE_TURNS {
            self.broken(Promise::Busy, || "several turns in a row do nothing and do not wait".to_owned());
        }
    }

    /// Whether the loop may leave a connection's input, because it has no room or no memory for it.
    fn may_leave_input(&self, connection: &Connection) -> bool {
        // The loop can find the end of the input without a buffer.
        let needs_none = connection.unreceived() == 0 && (connection.read_on || self.drain_deadline.is_some());
        let no_buffer = connection.owed() == 0 && self.lent >= self.capacity && !needs_none;
        self.is_full(connection) || no_buffer || connection.memory_short.is_some() || self.may_lack_buffer(connection)
    }

    /// Whether memory for a buffer was refused lately, perhaps for this connection.
    pub(crate) fn may_lack_buffer(&self, connection: &Connection) -> bool {
        let lately = self.last_refused.is_some_and(|since| self.turn_time < since + LONGEST_MEMORY_PAUSE);
        lately && connection.owed() == 0
    }

    /// Checks a wait that blocks because nothing is ready.
    pub(crate) fn check_blocking(&mut self, timeout: Option<Duration>) {
        let latest = self.latest(timeout);
        for index in self.open.clone() {
            let connection = &self.connections[index];
            if !connection.served() {
                continue;
            }
            let no_buffer = connection.owed() == 0 && self.lent >= self.capacity;
            // The last refusal may have been for this connection's retry.
            let tries = connection.memory_short.is_some() || (connection.hinted && connection.readable());
            let refused = self.last_refused.filter(|_| connection.owed() == 0 && tries);
            let lately = refused.filter(|since| self.turn_time < since + LONGEST_MEMORY_PAUSE);
            let short_since = connection.memory_short.max(lately);
            let what = if !no_buffer && short_since.is_some_and(|since| latest > since + LONGEST_MEMORY_PAUSE) {
                "is not retried after memory was short"
            } else if connection.hinted && !self.may_leave_input(connection) {
                "has input that is not received"
            } else if connection.owed() > 0 && connection.watch_write.is_none() && connection.memory_short.is_none() {
                "is owed bytes and not watched for room"
            } else if self.drain_deadline.is_some()
                && connection.owed() == 0
                && connection.seen_empty
                && !connection.shut
            {
                "is quiet in a drain and not shut down"
            } else if connection.watch_read.is_none() && connection.memory_short.is_none() {
                "is not watched"
            } else {
                continue;
            };
            self.broken(Promise::Awake, || format!("connection {index} {what}, and the loop waits"));
        }
        self.check_reason_to_wake(timeout);
        if self.drain_deadline.is_some() && self.ports.iter().any(|port| !port.closed && !port.backlog.is_empty()) {
            self.coverage.count(Point::DrainKeepsBacklog);
        }
        let forgotten = self.ports.iter().position(|port| {
            !port.closed
                && port.watch.is_none()
                && port.paused.is_none_or(|since| latest > since + LONGEST_ACCEPT_PAUSE)
        });
        if let Some(index) = forgotten {
            self.broken(Promise::Awake, || format!("listener {index} is not watched, and the loop waits"));
        }
    }

    /// Checks that a wait has a timeout only if something may be due. An idle server makes no wake-ups.
    fn check_reason_to_wake(&mut self, timeout: Option<Duration>) {
        let due = (self.plan.limits.idle_timeout.is_some() && self.served() > 0)
            || self.drain_deadline.is_some()
            || self.last_shortage.is_some_and(|since| self.turn_time < since + LONGEST_MEMORY_PAUSE)
            || self.ports.iter().any(|port| port.paused.is_some());
        if timeout.is_some() && !due {
            self.broken(Promise::Busy, || format!("a wait of {timeout:?} with nothing due"));
        }
    }

    /// Stops the server when nothing is left to happen.
    pub(crate) fn stop_at_the_end(&mut self) {
        if self.drain_deadline.is_none() {
            self.stop();
        } else if self.drain_deadline == Some(u64::MAX) {
            // Only a signal ends a drain that has no timeout and a peer that stays.
            self.post(self.plan.ending.second_signal);
        } else if self.lonely_waits < LONELY_WAITS {
            self.broken(Promise::Awake, || "the loop waits for ever in a drain".to_owned());
            self.pending_wake = true;
        }
    }

    pub(crate) fn check_close(&mut self, index: usize) {
        self.work += 1;
        let connection = &self.connections[index];
        let watched = connection.watch_read.is_some() || connection.watch_write.is_some();
        if let Some(target) = connection.target {
            self.keep_old(target);
        }
        if watched {
            self.broken(Promise::Descriptors, || format!("connection {index} is closed while it is watched"));
        }
        let connection = &self.connections[index];
        match connection.set_up {
            SetUp::NotTried => {
                self.tally.refused += 1;
                self.coverage.count(Point::Refused);
                let served = self.served();
                if self.plan.limits.max_connections.is_none_or(|max| served < max) {
                    self.broken(Promise::Limit, || format!("connection {index} is refused beside {served}"));
                }
            }
            SetUp::Failed => self.tally.set_up_failures += 1,
            SetUp::Done => self.check_end(index),
        }
        note!(self, "connection {index}: closed");
        self.connections[index].stage = Stage::Closed;
        self.open.retain(|open| *open != index);
    }

    fn check_end(&mut self, index: usize) {
        let connection = &self.connections[index];
        let idle = self.is_idle(connection);
        let late = self.drain_deadline.is_some_and(|due| due <= self.turn_time);
        let reason = match connection.ended {
            Some(reason) => reason,
            // The close itself tells the peer that everything was sent.
            None if connection.is_finished() => CloseReason::PeerFinished,
            None if idle => CloseReason::IdleTimeout,
            None if late => CloseReason::DrainTimeout,
            None => {
                let (owed, waiting, end) = (connection.owed(), connection.unreceived(), connection.end_received);
                return self.broken(Promise::Close, || {
                    format!("connection {index} is closed: {owed} owed, {waiting} unread, end received: {end}")
                });
            }
        };
        // The end of a drain closes every connection that is left, idle or not.
        if reason == CloseReason::IdleTimeout && !late {
            self.check_idle_close(index);
        }
        let connection = &self.connections[index];
        let in_full = match reason {
            CloseReason::PeerFinished => connection.is_finished(),
            CloseReason::Drained => connection.unreceived() == 0 && connection.shut,
            _ => true,
        };
        if !in_full {
            let (sent, received, written) = (connection.sent, connection.received, connection.written);
            self.broken(Promise::Bytes, || {
                format!("connection {index} ends well with {sent} sent of {received} received of {written} written")
            });
        }
        if reason == CloseReason::IdleTimeout {
            match late {
                // The connection may be closed for either reason.
                true => self.idle_or_late += 1,
                false => self.count_idle_close(),
            }
        }
        self.tally.closed[reason as usize] += 1;
        self.coverage.count(match reason {
            CloseReason::PeerFinished => Point::ClosedPeerFinished,
            CloseReason::Reset => Point::ClosedReset,
            CloseReason::IdleTimeout => Point::ClosedIdleTimeout,
            CloseReason::Drained => Point::ClosedDrained,
            CloseReason::DrainTimeout => Point::ClosedDrainTimeout,
            _ => Point::ClosedFailed,
        });
    }

    /// Checks that the loop has tried both directions before it closes a connection as idle, because events may be late
    /// and some systems report room late.
    fn check_idle_close(&mut self, index: usize) {
        let connection = &self.connections[index];
        let turn = self.tally.turns;
        let what = if connection.owed() > 0 && connection.tried_in != turn {
            "no send was tried"
        } else if connection.memory_short.is_some() {
            "there was no memory to look for input"
        } else if !self.is_full(connection)
            && !connection.end_received
            && (connection.hinted || connection.looked_in != turn)
        {
            "its input was not looked at"
        } else {
            return;
        };
        self.broken(Promise::Idle, || format!("connection {index} is closed as idle, but {what}"));
    }

    /// Checks what must hold after each turn, except one that a second signal ended.
    pub(crate) fn check_turn(&mut self, seen: Snapshot) {
        self.settle_refused(false);
        (self.lent, self.capacity) = (seen.lent, seen.capacity);
        for position in 0..self.open.len() {
            let index = self.open[position];
            self.observe(index, &seen);
            self.check_connection(index);
        }
        let holders = self.open.iter().filter(|index| self.connections[**index].owed() > 0).count();
        if seen.lent == seen.capacity {
            self.coverage.count(Point::PoolEmpty);
        }
        if seen.lent != holders || seen.lent > seen.capacity {
            self.broken(Promise::Memory, || {
                format!("{} buffers of {} lent, {holders} connections are owed bytes", seen.lent, seen.capacity)
            });
        }
        if seen.connections != self.open.len() {
            let open = self.open.len();
            self.broken(Promise::Descriptors, || format!("{} connections with {open} sockets", seen.connections));
        }
        self.check_lists(seen);
        if self.turn_time < self.woke_at {
            self.broken(Promise::Clock, || "the time was not read after the wait".to_owned());
        }
        let forgotten = self.ports.iter().any(|port| !port.closed && port.watch.is_none());
        if forgotten && self.closed_since_pause {
            self.broken(Promise::Awake, || "a descriptor is free again, but accepting still pauses".to_owned());
        }
        self.check_accepts();
        self.check_counters();
        if self.killed.is_some() {
            self.broken(Promise::Ended, || "the server goes on after a second signal".to_owned());
        }
    }

    /// Updates how long a connection has been idle, unserved or waiting for a buffer at the end of a turn.
    fn observe(&mut self, index: usize, seen: &Snapshot) {
        let connection = &mut self.connections[index];
        if std::mem::take(&mut connection.active_in_turn) {
            connection.active_until = self.time;
        }
        let connection = &self.connections[index];
        let (owes, memory_short) = (connection.owed() > 0, connection.memory_short.is_some());
        let no_buffer = !owes && seen.lent >= seen.capacity;
        // The event list had no room for this connection's next event, so the loop cannot know of it yet.
        let unreported = connection.edge && no_buffer;
        // Buffers that are free at the end of the turn belong to the connections that wait longest.
        let waits = connection.hinted
            && !memory_short
            && !self.may_lack_buffer(connection)
            && connection.unreceived() > 0
            && (no_buffer || (!owes && seen.waiting > 0));
        let has_input = connection.hinted && connection.readable() && !self.may_leave_input(connection);
        let ready = (has_input && !unreported && !waits) || (owes && !connection.blocked && !memory_short);
        let is_idle = self.idle_close_due(connection).is_some_and(|due| due <= self.turn_time);
        let is_excused = self.is_excused(connection);
        if self.is_full(connection) {
            self.coverage.count(Point::OutputFull);
        }
        if ready && connection.turn == self.tally.turns && connection.calls_in_turn >= CALLS_IN_VAIN {
            self.coverage.count(Point::ServingUsedUp);
        }
        let connection = &mut self.connections[index];
        if is_excused {
            connection.excused = self.turn_time;
        }
        if connection.waiting_since.is_none() {
            connection.waiting_places = self.open.len();
        }
        let since = connection.waiting_since.unwrap_or(self.buffers_returned);
        connection.waiting_since = waits.then_some(since);
        connection.idle_turns = if is_idle { connection.idle_turns + 1 } else { 0 };
        connection.unserved_turns = if ready { connection.unserved_turns + 1 } else { 0 };
    }

    /// Checks an open connection at the end of a turn.
    fn check_connection(&mut self, index: usize) {
        let connection = &self.connections[index];
        let wait = connection.unserved_turns;
        let passed_over = connection.waiting_since.map_or(0, |since| self.buffers_returned - since);
        let (promise, what) = if let Some(reason) = connection.ended {
            (Promise::Close, format!("has ended ({reason}) and is not closed"))
        } else if let Some(n) = connection.message {
            (Promise::Log, format!("has received {n} bytes that were not logged"))
        } else if connection.served() && connection.is_finished() {
            (Promise::Close, "was sent all it is owed after its end, but is not closed".to_owned())
        } else if connection.watch_write.is_some() && connection.owed() == 0 {
            (Promise::Busy, "is watched for room with nothing to send".to_owned())
        } else if connection.idle_turns > IDLE_CLOSE_TURNS {
            (Promise::Idle, "is idle and not closed".to_owned())
        } else if wait > PATIENCE {
            (Promise::Fair, format!("is ready and not served for {wait} turns"))
        } else if passed_over > RETURNS_PER_PLACE * (connection.waiting_places as u64 + 1) {
            (Promise::Fair, format!("waits for a buffer while {passed_over} are given back"))
        } else {
            return;
        };
        self.broken(promise, || format!("connection {index} {what}"));
    }

    /// Checks that a listener's event was followed by as many accepts as the backlog or the share of the turn allows.
    fn check_accepts(&mut self) {
        let turn = self.tally.turns;
        let early = self.ports.iter().position(|port| {
            let done = port.seen_empty
                || port.accepts_in_turn >= ACCEPTS_PER_TURN
                || port.reported.is_some_and(|reported| u64::from(port.accepts_in_turn) >= reported);
            port.event_turn == turn && port.pause_turn != turn && !port.closed && !done
        });
        if let Some(index) = early.filter(|_| self.drain_deadline.is_none()) {
            self.broken(Promise::Fair, || format!("listener {index}: connections are left in the backlog"));
        }
    }

    /// Checks that the loop's own lists stay in proportion to its open connections.
    fn check_lists(&mut self, seen: Snapshot) {
        let open = seen.connections;
        self.waiting = seen.waiting;
        // A turn counts as work if it only removes leftovers that have ended. There may be more than a thousand.
        self.work += u64::from(seen.unfinished < std::mem::replace(&mut self.unfinished, seen.unfinished));
        if seen.deadlines > 4 * open + DEADLINES_SLACK {
            self.broken(Promise::Memory, || format!("{} deadlines for {open} connections", seen.deadlines));
        }
        if seen.waiting > LEFTOVERS_PER_TURN {
            self.coverage.count(Point::ManyWaiting);
        }
        if seen.waiting > 2 * open + LEFTOVERS_PER_TURN {
            self.broken(Promise::Memory, || format!("{} of {open} connections wait for a buffer", seen.waiting));
        }
        // Leftovers that have ended stay in the list until they are due.
        if seen.unfinished > open + 2 * LEFTOVERS_PER_TURN {
            self.broken(Promise::Memory, || format!("{} left over of {open} connections", seen.unfinished));
        }
    }

    pub(crate) fn check_counters(&mut self) {
        let counted = read(&self.shared.counters);
        let [idle, late] = [CloseReason::IdleTimeout, CloseReason::DrainTimeout].map(|reason| reason as usize);
        let either = std::mem::take(&mut self.idle_or_late);
        let were_late = self.tally.closed[idle].saturating_sub(counted.closed[idle]).min(either);
        self.tally.closed[idle] -= were_late;
        self.tally.closed[late] += were_late;
        if counted != self.tally {
            let tally = self.tally.clone();
            self.broken(Promise::Counters, || format!("counted {counted:?}, happened {tally:?}"));
        }
    }

    /// Checks a turn that did not end the server.
    pub(crate) fn check_goes_on(&mut self) {
        if self.drain_deadline.is_some_and(|due| due <= self.turn_time) {
            self.broken(Promise::Drain, || "the server goes on after the drain timeout".to_owned());
        }
    }

    /// Checks how the server ended.
    pub(crate) fn check_ended(&mut self, ended: Ended) {
        note!(self, "ended: {ended:?}");
        match ended {
            Ended::Signal(number) => {
                if self.killed != Some(number) {
                    let killed = self.killed;
                    self.broken(Promise::Ended, || format!("ended by signal {number}, but {killed:?} came"));
                }
            }
            Ended::Drained => {
                self.coverage.count(Point::EndedDrained);
                let ports = self.ports.iter().filter(|port| !port.closed).count();
                let (open, draining) = (self.open.len(), self.drain_deadline.is_some());
                if !draining || open > 0 || ports > 0 || self.lent > 0 {
                    let lent = self.lent;
                    self.broken(Promise::Ended, || {
                        format!(
                            "drained (asked to: {draining}) with {open} connections, {ports} listeners, {lent} buffers"
                        )
                    });
                }
            }
        }
    }
}

/// Reads the loop's counters as a tally.
fn read(counters: &Counters) -> Tally {
    Tally {
        accepted: counters.accepted.get(),
        refused: counters.refused.get(),
        set_up_failures: counters.set_up_failures.get(),
        accept_failures: counters.accept_failures.get(),
        accept_pauses: counters.accept_pauses.get(),
        messages: counters.messages.get(),
        bytes_in: counters.bytes_in.get(),
        bytes_out: counters.bytes_out.get(),
        bytes_discarded: counters.bytes_discarded.get(),
        retries: counters.retries.get(),
        turns: counters.turns.get(),
        closed: std::array::from_fn(|index| counters.closed[index].get()),
    }
}
