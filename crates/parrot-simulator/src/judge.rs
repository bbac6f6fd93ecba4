//! Checks the loop before each wait, when a wait blocks, after each turn, at each close and at the end.

use std::time::Duration;

use parrot_server::simulation::{Counters, Snapshot};
use parrot_server::{CloseReason, Ended};

use crate::check::Promise;
use crate::coverage::Point;
use crate::events::LONELY_WAITS;
use crate::host::{SimulatedHost, Tally, note};
use crate::link::{Link, SetUp, Stage};
use crate::plan::{MILLISECOND, SECOND};
use crate::share::LEFTOVERS_PER_TURN;

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
/// The longest pause of a connection for which there was no memory.
pub(crate) const LONGEST_MEMORY_PAUSE: u64 = 100 * MILLISECOND;
/// The longest pause in accepting, for lack of descriptors or for any other reason.
const LONGEST_ACCEPT_PAUSE: u64 = SECOND;
/// A connection has two live deadlines at most. The loop may hold twice as many deadlines, and this many more.
const DEADLINES_SLACK: usize = 64;

impl SimulatedHost {
    /// The number of connections that the loop serves.
    pub(crate) fn served(&self) -> usize {
        self.open.iter().filter(|index| self.links[**index].served()).count()
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
    pub(crate) fn is_idle(&self, link: &Link) -> bool {
        let early = self.plan.limits.idle_timeout.map_or(0, |idle| idle.as_nanos() as u64 / 8);
        self.idle_due(link.active).is_some_and(|due| due <= self.turn_time + early)
    }

    /// Whether the peer does not count as idle, because the loop has not received its input although there is room for
    /// it, or has no memory to look for input.
    fn is_excused(&self, link: &Link) -> bool {
        (link.hinted && !self.is_full(link)) || link.memory_short.is_some() || self.may_lack_buffer(link)
    }

    /// Whether the connection's buffer has no room for what the peer sends.
    fn is_full(&self, link: &Link) -> bool {
        link.owed() > 0 && link.filled >= self.plan.limits.max_output as u64
    }

    /// When the loop has to close the connection as idle. The timeout starts again while the peer is excused.
    fn idle_close_due(&self, link: &Link) -> Option<u64> {
        self.idle_due(link.active_until.max(link.excused)).filter(|_| !self.is_excused(link))
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
            let link = &self.links[index];
            link.served() && self.idle_close_due(link).is_some_and(|due| latest > due.max(self.turn_time))
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
    fn may_leave_input(&self, link: &Link) -> bool {
        // The loop can find the end of the input without a buffer.
        let needs_none = link.waiting() == 0 && (link.read_on || self.drain_deadline.is_some());
        let no_buffer = link.owed() == 0 && self.lent >= self.capacity && !needs_none;
        self.is_full(link) || no_buffer || link.memory_short.is_some() || self.may_lack_buffer(link)
    }

    /// Whether memory for a buffer was refused lately, perhaps for this connection.
    pub(crate) fn may_lack_buffer(&self, link: &Link) -> bool {
        let lately = self.last_refused.is_some_and(|since| self.turn_time < since + LONGEST_MEMORY_PAUSE);
        lately && link.owed() == 0
    }

    /// Checks a wait that blocks because nothing is ready.
    pub(crate) fn check_blocking(&mut self, timeout: Option<Duration>) {
        let latest = self.latest(timeout);
        for index in self.open.clone() {
            let link = &self.links[index];
            if !link.served() {
                continue;
            }
            let no_buffer = link.owed() == 0 && self.lent >= self.capacity;
            // The last refusal may have been for this connection's retry.
            let tries = link.memory_short.is_some() || (link.hinted && link.readable());
            let refused = self.last_refused.filter(|_| link.owed() == 0 && tries);
            let lately = refused.filter(|since| self.turn_time < since + LONGEST_MEMORY_PAUSE);
            let short_since = link.memory_short.max(lately);
            let what = if !no_buffer && short_since.is_some_and(|since| latest > since + LONGEST_MEMORY_PAUSE) {
                "is not retried after memory was short"
            } else if link.hinted && !self.may_leave_input(link) {
                "has input that is not received"
            } else if link.owed() > 0 && link.watch_write.is_none() && link.memory_short.is_none() {
                "is owed bytes and not watched for room"
            } else if self.drain_deadline.is_some() && link.owed() == 0 && link.seen_empty && !link.shut {
                "is quiet in a drain and not shut down"
            } else if link.watch_read.is_none() {
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
        let link = &self.links[index];
        let watched = link.watch_read.is_some() || link.watch_write.is_some();
        if let Some(target) = link.target {
            self.keep_old(target);
        }
        if watched {
            self.broken(Promise::Descriptors, || format!("connection {index} is closed while it is watched"));
        }
        let link = &self.links[index];
        match link.set_up {
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
        self.links[index].stage = Stage::Closed;
        self.open.retain(|open| *open != index);
    }

    fn check_end(&mut self, index: usize) {
        let link = &self.links[index];
        let idle = self.is_idle(link);
        let late = self.drain_deadline.is_some_and(|due| due <= self.turn_time);
        let reason = match link.ended {
            Some(reason) => reason,
            None if idle => CloseReason::IdleTimeout,
            None if late => CloseReason::DrainTimeout,
            None => {
                let (owed, waiting, end) = (link.owed(), link.waiting(), link.end_received);
                return self.broken(Promise::Close, || {
                    format!("connection {index} is closed: {owed} owed, {waiting} unread, end received: {end}")
                });
            }
        };
        // The end of a drain closes every connection that is left, idle or not.
        if reason == CloseReason::IdleTimeout && !late {
            self.check_idle_close(index);
        }
        let link = &self.links[index];
        let in_full = match reason {
            CloseReason::PeerFinished => link.sent == link.received && link.waiting() == 0 && link.shut,
            CloseReason::Drained => link.waiting() == 0 && link.shut,
            _ => true,
        };
        if !in_full {
            let (sent, received, written) = (link.sent, link.received, link.written);
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
        let link = &self.links[index];
        let turn = self.tally.turns;
        let what = if link.owed() > 0 && link.tried_in != turn {
            "no send was tried"
        } else if link.memory_short.is_some() {
            "there was no memory to look for input"
        } else if !self.is_full(link) && !link.end_received && (link.hinted || link.looked_in != turn) {
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
        let mut holders = 0;
        for position in 0..self.open.len() {
            let index = self.open[position];
            let link = &mut self.links[index];
            if std::mem::take(&mut link.active_in_turn) {
                link.active_until = self.time;
            }
            let link = &self.links[index];
            holders += usize::from(link.owed() > 0);
            // The event list had no room for this connection's next event, so the loop cannot know of it yet.
            let untold = link.edge && link.owed() == 0 && seen.lent >= seen.capacity;
            // Buffers that are free at the end of the turn belong to the connections that wait longest.
            let in_line = link.hinted
                && link.memory_short.is_none()
                && !self.may_lack_buffer(link)
                && link.waiting() > 0
                && link.owed() == 0
                && (seen.lent >= seen.capacity || seen.waiting > 0);
            let ready = (link.hinted && link.readable() && !untold && !in_line && !self.may_leave_input(link))
                || (link.owed() > 0 && !link.blocked && link.memory_short.is_none());
            let used_up = ready && link.turn == self.tally.turns && link.calls_in_turn >= CALLS_IN_VAIN;
            let wait = if ready { link.unserved_turns + 1 } else { 0 };
            let since = if in_line { link.in_line_since.or(Some(self.buffers_returned)) } else { None };
            let places = if link.in_line_since.is_some() { link.in_line_places } else { self.open.len() };
            let passed_over = since.map_or(0, |since| self.buffers_returned - since);
            let excused = if self.is_excused(link) { self.turn_time } else { link.excused };
            let is_idle = self.idle_close_due(link).is_some_and(|due| due <= self.turn_time);
            let idle_turns = if is_idle { link.idle_turns + 1 } else { 0 };
            let (promise, what) = if let Some(reason) = link.ended {
                (Promise::Close, format!("has ended ({reason}) and is not closed"))
            } else if let Some(n) = link.message {
                (Promise::Log, format!("has received {n} bytes that were not logged"))
            } else if link.served() && link.end_received && link.owed() == 0 && !link.shut {
                (Promise::ShutDown, "was sent all it is owed, but is not shut down".to_owned())
            } else if link.watch_write.is_some() && link.owed() == 0 {
                (Promise::Busy, "is watched for room with nothing to send".to_owned())
            } else if idle_turns > IDLE_CLOSE_TURNS {
                (Promise::Idle, "is idle and not closed".to_owned())
            } else if wait > PATIENCE {
                (Promise::Fair, format!("is ready and not served for {wait} turns"))
            } else if passed_over > RETURNS_PER_PLACE * (places as u64 + 1) {
                (Promise::Fair, format!("waits for a buffer while {passed_over} are given back"))
            } else {
                if self.is_full(link) {
                    self.coverage.count(Point::OutputFull);
                }
                if used_up {
                    self.coverage.count(Point::ServingUsedUp);
                }
                self.links[index].idle_turns = idle_turns;
                self.links[index].excused = excused;
                self.links[index].unserved_turns = wait;
                self.links[index].in_line_since = since;
                self.links[index].in_line_places = places;
                continue;
            };
            self.broken(promise, || format!("connection {index} {what}"));
        }
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
        self.check_counters();
        if self.killed.is_some() {
            self.broken(Promise::Ended, || "the server goes on after a second signal".to_owned());
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
            self.coverage.count(Point::LongLine);
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
