//! What must hold: before each wait, when a wait blocks, after each turn, at each close and at the end.

use std::time::Duration;

use parrot_server::system::{Counters, ListLengths};
use parrot_server::{CloseReason, Ended};

use crate::check::Promise;
use crate::coverage::Point;
use crate::events::LONELY_WAITS;
use crate::kernel::{Kernel, Tally, note};
use crate::link::{Link, SetUp, Stage};
use crate::plan::{MILLISECOND, SECOND};
use crate::share::LEFTOVERS_PER_TURN;

/// A connection that is ready is served within so many turns.
const PATIENCE: u32 = 8;
/// A connection that is idle is closed in the same turn, or, if more than a thousand are, in one of so many.
const IDLE_CLOSE_TURNS: u32 = 2;
/// How often a buffer may be given back before a connection moves up a place in the line for one: who has its turn may
/// use it up with as many small messages.
const RETURNS_A_PLACE: u64 = 80;
/// So many turns may follow each other without work and without a wait: the one that finds that nothing is left.
const IDLE_TURNS: u32 = 1;
/// So many calls that move little use a connection's share of the turn up.
const CALLS_IN_VAIN: u32 = 32;
/// The longest that a want of memory, and one of descriptors, is waited out.
pub(crate) const LONGEST_MEMORY_PAUSE: u64 = 100 * MILLISECOND;
const LONGEST_ACCEPT_PAUSE: u64 = SECOND;
/// A connection has two deadlines at most; the dead may outnumber twice the living by this.
const DEADLINES_SLACK: usize = 64;

/// What the loop shows of itself after a turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) connections: usize,
    pub(crate) lent: usize,
    pub(crate) capacity: usize,
    pub(crate) lists: ListLengths,
}

impl Kernel {
    /// How many connections the loop serves.
    pub(crate) fn served(&self) -> usize {
        self.open.iter().filter(|index| self.links[**index].served()).count()
    }

    /// Whether a drain with a time-out has begun.
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

    /// When a connection has been idle for too long that was not after this time.
    pub(crate) fn idle_due(&self, since: u64) -> Option<u64> {
        let idle = self.plan.config.idle_timeout?;
        Some(since + idle.as_nanos() as u64)
    }

    /// Whether no byte of the connection has moved for the idle time-out, or nearly: of the turn in which one moved the
    /// loop knows the start, and looks at the end only of one that takes longer than an eighth of the time-out.
    pub(crate) fn is_idle(&self, link: &Link) -> bool {
        let early = self.plan.config.idle_timeout.map_or(0, |idle| idle.as_nanos() as u64 / 8);
        self.idle_due(link.active).is_some_and(|due| due <= self.turn_time + early)
    }

    /// Whether the loop knows of input that it has not received, and not because the peer takes nothing; or lacks the
    /// memory to find out. Then the peer is not idle.
    fn is_excused(&self, link: &Link) -> bool {
        (link.hinted && !self.is_full(link)) || link.memory_short.is_some() || self.may_lack_buffer(link)
    }

    /// Whether the connection's buffer has no room for what the peer sends.
    fn is_full(&self, link: &Link) -> bool {
        link.owed() > 0 && link.filled >= self.plan.config.max_output as u64
    }

    /// When the loop has to close the connection as idle: once the time-out is over since the peer had an excuse, too.
    fn idle_close_due(&self, link: &Link) -> Option<u64> {
        self.idle_due(link.active_until.max(link.excused)).filter(|_| !self.is_excused(link))
    }

    /// When a wait with this timeout ends at the latest, on the loop's clock.
    fn latest(&self, timeout: Option<Duration>) -> u64 {
        timeout.map_or(u64::MAX, |timeout| self.turn_time.saturating_add(timeout.as_nanos() as u64))
    }

    pub(crate) fn check_before_wait(&mut self, timeout: Option<Duration>) {
        let latest = self.latest(timeout);
        if self.drain_deadline.is_some_and(|due| latest > due) {
            self.broken(Promise::Drain, || "a wait beyond the drain time-out".to_owned());
        }
        let overslept = self.open.iter().copied().find(|&index| {
            let link = &self.links[index];
            link.served() && self.idle_close_due(link).is_some_and(|due| latest > due.max(self.turn_time))
        });
        if let Some(index) = overslept {
            self.broken(Promise::Idle, || format!("a wait beyond the idle time-out of connection {index}"));
        }
        let polls = self.plan.config.busy_poll.zip(self.last_event).is_some_and(|(poll, since)| {
            let until = since + poll.as_nanos() as u64;
            self.turn_time < until
        });
        if polls {
            self.coverage.count(Point::BusyPoll);
            if timeout != Some(Duration::ZERO) {
                self.broken(Promise::Awake, || "the loop sleeps where it was told to ask on".to_owned());
            }
        }
        let idle = self.work == self.work_before && !self.waited && !polls;
        self.idle_turns = if idle { self.idle_turns + 1 } else { 0 };
        self.work_before = self.work;
        self.waited = false;
        if self.idle_turns > IDLE_TURNS {
            self.broken(Promise::Busy, || "turns that do nothing follow each other without a wait".to_owned());
        }
    }

    /// Why the loop cannot receive from a connection now, although it has reason to.
    fn may_leave_input(&self, link: &Link) -> bool {
        // Without a buffer it can still be found out that nothing more is to be received into one.
        let needs_none = link.waiting() == 0 && (link.read_on || self.drain_deadline.is_some());
        let no_buffer = link.owed() == 0 && self.lent >= self.capacity && !needs_none;
        self.is_full(link) || no_buffer || link.memory_short.is_some() || self.may_lack_buffer(link)
    }

    /// Memory for a buffer was refused lately, perhaps for this connection.
    pub(crate) fn may_lack_buffer(&self, link: &Link) -> bool {
        let lately = self.last_refused.is_some_and(|since| self.turn_time < since + LONGEST_MEMORY_PAUSE);
        lately && link.owed() == 0
    }

    /// Nothing is ready, and the loop means to wait.
    pub(crate) fn check_blocking(&mut self, timeout: Option<Duration>) {
        let latest = self.latest(timeout);
        for index in self.open.clone() {
            let link = &self.links[index];
            if !link.served() {
                continue;
            }
            let no_buffer = link.owed() == 0 && self.lent >= self.capacity;
            // What was refused last may have been a buffer for this connection's retry.
            let tries = link.memory_short.is_some() || (link.hinted && link.readable());
            let refused = self.last_refused.filter(|_| link.owed() == 0 && tries);
            let lately = refused.filter(|since| self.turn_time < since + LONGEST_MEMORY_PAUSE);
            let short_since = link.memory_short.max(lately);
            let what = if !no_buffer && short_since.is_some_and(|since| latest > since + LONGEST_MEMORY_PAUSE) {
                "is not tried again after a want of memory"
            } else if link.hinted && !self.may_leave_input(link) {
                "has input, and nobody receives it"
            } else if link.owed() > 0 && link.watch_write.is_none() && link.memory_short.is_none() {
                "is owed bytes, and nobody waits for room"
            } else if self.drain_deadline.is_some() && link.owed() == 0 && link.seen_empty && !link.shut {
                "is quiet in a drain, and is not shut down"
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

    /// A wait ends by itself only if something may be due then: an idle server makes no wake-ups.
    fn check_reason_to_wake(&mut self, timeout: Option<Duration>) {
        let due = (self.plan.config.idle_timeout.is_some() && self.served() > 0)
            || self.drain_deadline.is_some()
            || self.last_shortage.is_some_and(|since| self.turn_time < since + LONGEST_MEMORY_PAUSE)
            || self.ports.iter().any(|port| port.paused.is_some());
        if timeout.is_some() && !due {
            self.broken(Promise::Busy, || format!("a wait of {timeout:?} with nothing due"));
        }
    }

    /// Nothing will ever happen again: the run is over, and the server is told so.
    pub(crate) fn stop_at_the_end(&mut self) {
        if self.drain_deadline.is_none() {
            self.stop();
        } else if self.drain_deadline == Some(u64::MAX) {
            // Without a time-out only a signal ends a drain that somebody holds open.
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
        if let Some(token) = link.token {
            self.keep_old(token);
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
                if self.plan.config.max_connections.is_none_or(|max| served < max) {
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
        // The end of a drain closes whoever is left, idle or not.
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
                // Whichever comes first: a turn has a share of deadlines, and the drain closes all that are left.
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

    /// Events may be late, and room is told late on some systems: before the loop calls a peer idle it has asked both
    /// ways.
    fn check_idle_close(&mut self, index: usize) {
        let link = &self.links[index];
        let turn = self.tally.turns;
        let what = if link.owed() > 0 && link.tried_in != turn {
            "no send was tried"
        } else if link.memory_short.is_some() {
            "memory lacked to find out"
        } else if !self.is_full(link) && !link.end_received && (link.hinted || link.looked_in != turn) {
            "nobody looked for bytes that wait"
        } else {
            return;
        };
        self.broken(Promise::Idle, || format!("connection {index} is closed as idle, and {what}"));
    }

    /// After a turn, but for the one in which the server was ended at once.
    pub(crate) fn check_turn(&mut self, seen: Seen) {
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
            // In line for a buffer, with an event to come that no list has had room for: the loop cannot know yet.
            let untold = link.edge && link.owed() == 0 && seen.lent >= seen.capacity;
            // Of buffers that are free at the turn's end, others had the use before, and will have it.
            let in_line = link.hinted
                && link.memory_short.is_none()
                && !self.may_lack_buffer(link)
                && link.waiting() > 0
                && link.owed() == 0
                && (seen.lent >= seen.capacity || seen.lists.in_line > 0);
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
                (Promise::Log, format!("has received {n} bytes that the log was not told"))
            } else if link.served() && link.end_received && link.owed() == 0 && !link.shut {
                (Promise::ShutDown, "was sent all it is owed, and not the end".to_owned())
            } else if link.watch_write.is_some() && link.owed() == 0 {
                (Promise::Busy, "waits for room with nothing to send".to_owned())
            } else if idle_turns > IDLE_CLOSE_TURNS {
                (Promise::Idle, "is idle and not closed".to_owned())
            } else if wait > PATIENCE {
                (Promise::Fair, format!("is ready and not served for {wait} turns"))
            } else if passed_over > RETURNS_A_PLACE * (places as u64 + 1) {
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
            self.broken(Promise::Awake, || "a descriptor is free again, and accepting still pauses".to_owned());
        }
        self.check_counters();
        if self.killed.is_some() {
            self.broken(Promise::Ended, || "the server goes on after a second signal".to_owned());
        }
    }

    /// The loop's own lists stay in proportion to its connections, however many have come and gone.
    fn check_lists(&mut self, seen: Seen) {
        let (open, lists) = (seen.connections, seen.lists);
        self.in_line = lists.in_line;
        // Finding out that more than a thousand of those left over have ended takes turns that do nothing else.
        self.work += u64::from(lists.unfinished < std::mem::replace(&mut self.unfinished, lists.unfinished));
        if lists.deadlines > 4 * open + DEADLINES_SLACK {
            self.broken(Promise::Memory, || format!("{} deadlines for {open} connections", lists.deadlines));
        }
        if lists.in_line > LEFTOVERS_PER_TURN {
            self.coverage.count(Point::LongLine);
        }
        if lists.in_line > 2 * open + LEFTOVERS_PER_TURN {
            self.broken(Promise::Memory, || format!("{} in line for a buffer of {open} connections", lists.in_line));
        }
        // Those that were left over and have ended are found out in their turn.
        if lists.unfinished > open + 2 * LEFTOVERS_PER_TURN {
            self.broken(Promise::Memory, || format!("{} left over of {open} connections", lists.unfinished));
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

    /// After a turn that did not end the server.
    pub(crate) fn check_goes_on(&mut self) {
        if self.drain_deadline.is_some_and(|due| due <= self.turn_time) {
            self.broken(Promise::Drain, || "the server goes on after the drain time-out".to_owned());
        }
    }

    /// The server has ended.
    pub(crate) fn check_ended(&mut self, ended: Ended) {
        note!(self, "ended: {ended:?}");
        match ended {
            Ended::Signal(number) => {
                if self.killed != Some(number) {
                    let killed = self.killed;
                    self.broken(Promise::Ended, || format!("ended by signal {number}, and {killed:?} came"));
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

/// The loop's counters, in the words of the tally.
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
