//! The event queue: what a wait finds, and how events reach the loop.

use std::io;
use std::num::NonZeroU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::errno::Errno;
use parrot_kqueue::{Signal, Token};
use parrot_server::simulation::{Event, Target};

use crate::coverage::Point;
use crate::datagrams::Socket;
use crate::host::{Origin, SimulatedHost, note};
use crate::profile::Profile;
use crate::time::MICROSECOND;

/// The most events of one wait.
const LIST: usize = 1024;
/// The number of waits that end only by the loop's own deadlines before the server is stopped. Without descriptors the
/// loop may go on like that for ever.
pub(crate) const LONELY_WAITS: u32 = 32;
/// The most connections that a turn serves in addition to those with events.
const CROWD: usize = 1024;
/// The number of closed connections that stale events may name.
const OLD_TARGETS: usize = 8;

/// Something that is ready and becomes an event.
#[derive(Debug, Clone, Copy)]
enum Ready {
    Accept(usize),
    Read(usize),
    Write(usize),
    Datagrams(usize),
    Stop(Signal),
    Signal,
    Wake,
}

impl SimulatedHost {
    /// Waits until something is ready or the timeout is over.
    pub(crate) fn wait_for_events(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let deadline = timeout.map(|timeout| self.time.saturating_add(timeout.as_nanos() as u64));
        self.check_before_wait(timeout);
        self.start_turn();
        note!(self, "wait: {timeout:?}");
        self.pass_time();
        let found = self.wait_until(timeout, deadline);
        self.woke_at = self.time;
        self.awoken = true;
        found
    }

    fn wait_until(&mut self, timeout: Option<Duration>, deadline: Option<u64>) -> io::Result<()> {
        if self.fault(Point::WaitInterrupted) {
            return Err(Errno::EINTR.into());
        }
        let mut ready = self.ready();
        self.waited = ready.is_empty() && timeout != Some(Duration::ZERO);
        let mut checked = false;
        while ready.is_empty() && deadline.is_none_or(|deadline| deadline > self.time) {
            if !std::mem::replace(&mut checked, true) {
                self.check_blocking(timeout);
            }
            if self.fault(Point::WaitEarly) {
                break;
            }
            let next = self.next_action();
            match (next, deadline) {
                (Some(next), deadline) if deadline.is_none_or(|deadline| next <= deadline) => {
                    self.time = self.time.max(next);
                    self.run_due();
                }
                (next, Some(deadline)) => {
                    self.time = deadline;
                    self.lonely_waits += u32::from(next.is_none());
                    if next.is_none() && self.lonely_waits.is_multiple_of(LONELY_WAITS) {
                        self.stop_at_the_end();
                    }
                }
                (_, None) => self.stop_at_the_end(),
            }
            ready = self.ready();
        }
        // More may become ready between the first event and the moment when the loop wakes.
        if !ready.is_empty() && self.dice.chance(64) {
            self.time += self.dice.below(20 * MICROSECOND);
            self.run_due();
            ready = self.ready();
        }
        self.harvest(ready);
        Ok(())
    }

    fn ready(&self) -> Vec<Ready> {
        let mut ready = Vec::new();
        for (index, port) in self.ports.iter().enumerate() {
            if port.watch.is_some() && !port.backlog.is_empty() {
                ready.push(Ready::Accept(index));
            }
        }
        for &index in &self.open {
            let connection = &self.connections[index];
            if connection.watch_read.is_some() && connection.edge && connection.readable() {
                ready.push(Ready::Read(index));
            }
            if connection.watch_write.is_some() && self.writable(index) {
                ready.push(Ready::Write(index));
            }
        }
        for (index, socket) in self.udp.sockets.iter().enumerate() {
            if socket.watch.is_some() && (!socket.queue.is_empty() || socket.errors_until > self.time) {
                ready.push(Ready::Datagrams(index));
            }
        }
        ready.extend(self.pending_stops.keys().copied().map(Ready::Stop));
        if !self.pending_signals.is_empty() {
            ready.push(Ready::Signal);
        }
        if self.pending_wake {
            ready.push(Ready::Wake);
        }
        ready
    }

    /// Whether the queue reports a socket as writable, because it has an error or as much room as the family requires.
    pub(crate) fn writable(&self, index: usize) -> bool {
        let connection = &self.connections[index];
        let wanted = match self.plan.profile {
            // SO_SNDLOWAT (sosetopt and sbspace in the BSDs).
            Profile::Kqueue => connection.plan.send_room.min(2048),
            // The room must be half of what is queued (sk_stream_is_writeable in Linux).
            Profile::Epoll => (connection.sent - connection.read) / 2,
        };
        connection.broken || connection.room() >= wanted.max(1)
    }

    /// Turns what is ready into events of this turn, in any order and not always all of them.
    fn harvest(&mut self, mut ready: Vec<Ready>) {
        for last in (1..ready.len()).rev() {
            let other = self.dice.below(last as u64 + 1) as usize;
            ready.swap(last, other);
        }
        let room = if ready.len() > 1 && self.fault(Point::WaitShortList) {
            1 + self.dice.below(ready.len() as u64 - 1) as usize
        } else {
            LIST
        };
        for what in ready.into_iter().take(room) {
            let event = self.event(what);
            self.batch.extend(event);
        }
        for (fault, event) in [
            (Point::WaitStale, SimulatedHost::stale_event as fn(&mut SimulatedHost) -> Option<(Event, Origin)>),
            (Point::WaitSpurious, SimulatedHost::spurious_event),
        ] {
            if self.decides(fault)
                && let Some(event) = event(self)
            {
                self.insert_anywhere(event);
                self.happened(fault);
            }
        }
        // Listeners come first, as the loop is promised.
        self.batch.make_contiguous().sort_by_key(|(_, origin)| *origin != Origin::Port);
    }

    fn insert_anywhere(&mut self, event: (Event, Origin)) {
        let place = self.dice.below(self.batch.len() as u64 + 1) as usize;
        self.batch.insert(place, event);
    }

    fn event(&mut self, what: Ready) -> Option<(Event, Origin)> {
        Some(match what {
            Ready::Accept(port) => {
                let port = &self.ports[port];
                let available = self.counted(port.backlog.len() as u64);
                (readable(port.watch?, false, available)?, Origin::Port)
            }
            Ready::Read(index) => {
                let connection = &mut self.connections[index];
                connection.edge = false;
                let connection = &self.connections[index];
                let urgent = self.plan.profile == Profile::Epoll
                    && connection.urgent.is_some_and(|mark| mark < connection.written);
                let read_on = connection.end_in_sight() || urgent;
                let available = self.counted(connection.unreceived());
                let event = (readable(connection.watch_read?, read_on, available)?, Origin::Connection(index));
                if connection.end_in_sight() {
                    let point = if connection.unreceived() > 0 { Point::EndWithBytes } else { Point::EndAlone };
                    self.coverage.count(point);
                }
                event
            }
            Ready::Write(index) => (writable(self.connections[index].watch_write?)?, Origin::Connection(index)),
            Ready::Datagrams(index) => {
                let socket = &self.udp.sockets[index];
                (readable(socket.watch?, false, self.counted(socket.queued))?, Origin::Datagrams)
            }
            Ready::Stop(signal) => {
                (Event::Signal { signal, count: self.pending_stops.remove(&signal)? }, Origin::Server)
            }
            Ready::Signal => (Event::Signal { signal: self.pending_signals.pop()?, count: 1 }, Origin::Server),
            Ready::Wake => {
                self.pending_wake = false;
                (Event::Wake, Origin::Server)
            }
        })
    }

    /// The number of bytes or connections that wait, if the family reports it.
    fn counted(&self, n: u64) -> Option<NonZeroU64> {
        NonZeroU64::new(n).filter(|_| self.plan.profile == Profile::Kqueue)
    }

    /// Makes an event of a closed connection, with any contents.
    fn stale_event(&mut self) -> Option<(Event, Origin)> {
        let which = self.dice.below(OLD_TARGETS as u64) as usize;
        let target = *self.old_targets.get(which)?;
        let reused = self
            .open
            .iter()
            .any(|&index| self.connections[index].watch_read.is_some_and(|new| slot(new) == slot(target)));
        if reused {
            self.coverage.count(Point::StaleForReused);
        }
        let event = if self.dice.chance(64) {
            writable(target)?
        } else {
            let available = self.dice.below(1000);
            readable(target, self.dice.chance(128), self.counted(available))?
        };
        Some((event, Origin::Stale))
    }

    /// Makes an event without a cause, of an open connection or of a listener that may be closed.
    fn spurious_event(&mut self) -> Option<(Event, Origin)> {
        let (event, origin) = self.choose_spurious()?;
        // A list has at most one event of each registration.
        let registration = |event: Event| match event {
            Event::Readable { connection, .. } => Some((Target::Connection(connection), true)),
            Event::Writable { connection } => Some((Target::Connection(connection), false)),
            Event::Backlog { listener, .. } => Some((Target::Listener(listener), true)),
            Event::Datagrams { socket } => Some((Target::Datagrams(socket), true)),
            Event::Signal { .. } | Event::Wake => None,
        };
        if self.batch.iter().any(|(other, _)| registration(*other) == registration(event)) {
            return None;
        }
        match event {
            // This event allows the loop to accept or to receive in a pause.
            Event::Backlog { .. } => self.last_pause = None,
            Event::Datagrams { socket } => self.udp.sockets[socket].failed = None,
            _ => {}
        }
        Some((event, origin))
    }

    fn choose_spurious(&mut self) -> Option<(Event, Origin)> {
        if !self.udp.sockets.is_empty() && (self.ports.is_empty() || self.dice.chance(64)) {
            let socket = self.dice.below(self.udp.sockets.len() as u64) as usize;
            return Some((Event::Datagrams { socket }, Origin::Datagrams));
        }
        if self.open.is_empty() || self.dice.chance(32) {
            let listener = self.dice.below(self.ports.len() as u64) as usize;
            return Some((Event::Backlog { listener, available: self.counted(1) }, Origin::Port));
        }
        let index = self.open[self.dice.below(self.open.len() as u64) as usize];
        let connection = &self.connections[index];
        if let Some(target) = connection.watch_write
            && self.dice.chance(128)
        {
            return Some((writable(target)?, Origin::Connection(index)));
        }
        let target = connection.watch_read?;
        let available = self.counted(connection.unreceived());
        Some((readable(target, connection.end_in_sight(), available)?, Origin::Connection(index)))
    }

    /// Delivers the next event of the turn, which the loop may then act on.
    pub(crate) fn deliver_event(&mut self) -> Option<Event> {
        self.handles.changing = false;
        let (event, origin) = self.batch.pop_front()?;
        self.last_event = Some(self.turn_time);
        note!(self, "event: {event:?}, {origin:?}");
        match (event, origin) {
            (Event::Readable { read_on, available, .. }, Origin::Connection(index)) => {
                // An edge comes once, so it counts as work. Level-triggered events count only if the loop acts on them.
                self.work += 1;
                let turn = self.tally.turns;
                let connection = &mut self.connections[index];
                connection.count_event(turn);
                connection.hinted = !connection.end_received;
                connection.read_on |= read_on;
                connection.unread = available.map_or(0, NonZeroU64::get);
            }
            (Event::Backlog { listener, available }, Origin::Port) => {
                if let Some(port) = self.ports.iter_mut().find(|port| port.slot == Some(listener)) {
                    port.reported = available.map(NonZeroU64::get);
                    port.event_turn = self.tally.turns;
                }
            }
            (Event::Datagrams { socket }, Origin::Datagrams) => {
                let socket = &mut self.udp.sockets[socket];
                socket.event_turn = self.tally.turns;
                socket.begin_share();
            }
            (Event::Writable { .. }, Origin::Connection(index)) => {
                self.connections[index].count_event(self.tally.turns);
                self.connections[index].blocked = false;
            }
            (Event::Signal { signal: Signal::Hangup, count }, _) => {
                // Several hangups in one event reopen the log once.
                self.hangups += 1;
                self.work += count;
                self.coverage.count(Point::Hangup);
                self.follow_changes();
            }
            (Event::Signal { signal: Signal::User1, .. }, _) => {
                self.work += 1;
                self.coverage.count(Point::Statistics);
                // The loop then asks for drops, and watches again what it had left alone.
                self.udp.statistics_turn = self.tally.turns;
                self.udp.sockets.iter_mut().for_each(|socket| socket.failed = None);
            }
            (Event::Signal { signal, count }, _) => {
                self.work += 1;
                let first = self.drained_by;
                for _ in 0..count {
                    self.signal_ends(signal);
                }
                if self.killed.is_some() {
                    let merged = first.is_none();
                    self.coverage.count(if merged { Point::EndedMergedSignals } else { Point::EndedSecondSignal });
                    if first.is_some_and(|first| first != signal) {
                        self.coverage.count(Point::EndedOtherSignal);
                    }
                }
            }
            (Event::Wake, _) => {
                self.work += 1;
                self.follow_changes();
                self.handles.changing = true;
                match self.shared.drain_wanted.load(Ordering::Acquire) {
                    true => self.drain_by_handle(),
                    false => self.coverage.count(Point::WakeForNothing),
                }
            }
            _ => {}
        }
        Some(event)
    }

    /// What a signal that ends the server leads to. Each of them goes a step further.
    fn signal_ends(&mut self, signal: Signal) {
        let delay = u64::try_from(self.plan.limits.drain_delay.as_nanos()).unwrap_or(u64::MAX);
        if self.drained_by.is_some() {
            self.killed = Some(signal.number());
        } else if self.drain_deadline.is_some() {
            // A handle began the drain, so this signal changes nothing.
            self.drained_by = Some(signal);
        } else if self.leave_deadline.is_none() && signal == Signal::Terminate && delay > 0 {
            self.leave_deadline = Some(self.turn_time.saturating_add(delay));
        } else {
            self.coverage.count(Point::DrainBySignal);
            if delay > 0 {
                self.coverage.count(Point::DelaySkipped);
            }
            self.drained_by = Some(signal);
            self.start_drain();
        }
    }

    /// Begins the drain if its delay is over at the start of a turn.
    pub(crate) fn end_delay(&mut self) {
        if self.leave_deadline.is_some_and(|due| due <= self.turn_time) {
            self.coverage.count(Point::DrainDelayed);
            self.drained_by = Some(Signal::Terminate);
            self.start_drain();
        }
    }

    /// Begins the drain that a handle has asked for, unless it has begun.
    pub(crate) fn drain_by_handle(&mut self) {
        if self.drain_deadline.is_none() {
            self.coverage.count(Point::DrainByHandle);
            self.start_drain();
        }
    }

    fn start_drain(&mut self) {
        self.leave_deadline = None;
        let within = u64::try_from(self.plan.limits.drain_timeout.as_nanos()).unwrap_or(u64::MAX);
        self.drain_deadline = Some(self.turn_time.saturating_add(within));
        self.drain_began_in = self.tally.turns;
        self.udp.sockets.iter_mut().for_each(Socket::begin_share);
        if within == u64::MAX {
            self.coverage.count(Point::DrainWithoutEnd);
        }
        if self.open.len() > CROWD {
            self.coverage.count(Point::DrainOfCrowd);
        }
        if self.open.is_empty() {
            self.coverage.count(Point::DrainFindsNothing);
        }
        if self.ports.iter().any(|port| port.paused.is_some()) {
            self.coverage.count(Point::DrainInPause);
        }
        for &index in &self.open {
            // A drain looks at every connection, without an event.
            let connection = &mut self.connections[index];
            connection.hinted = !connection.end_received;
            connection.read_on = true;
            connection.seen_empty = false;
        }
    }

    /// Keeps the target of a connection that is closed.
    pub(crate) fn keep_old(&mut self, target: Target) {
        if self.old_targets.len() == OLD_TARGETS {
            self.old_targets.pop_front();
        }
        self.old_targets.push_back(target);
    }

    /// Counts a connection whose slot a closed connection had before.
    pub(crate) fn count_slot(&mut self, target: Target) {
        if self.old_targets.iter().any(|old| slot(*old) == slot(target)) {
            self.coverage.count(Point::SlotReused);
        }
    }
}

/// The event that reports input at this target. `None` for targets that have none.
fn readable(target: Target, read_on: bool, available: Option<NonZeroU64>) -> Option<Event> {
    match target {
        Target::Connection(connection) => Some(Event::Readable { connection, read_on, available }),
        Target::Listener(listener) => Some(Event::Backlog { listener, available }),
        Target::Datagrams(socket) => Some(Event::Datagrams { socket }),
        Target::Signal(_) | Target::Wake => None,
    }
}

/// The event that a connection has room to send.
fn writable(target: Target) -> Option<Event> {
    match target {
        Target::Connection(connection) => Some(Event::Writable { connection }),
        _ => None,
    }
}

/// The slot in a connection's token, which later connections use again.
fn slot(target: Target) -> usize {
    Token::from(target).0 & u32::MAX as usize
}
