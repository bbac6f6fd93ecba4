//! The loop's calls on UDP sockets: what they return, and whether the loop may make them.

use std::io;

use nix::errno::Errno;
use parrot_server::simulation::{Label, OpenDatagramSocket, Target};
use parrot_udp::{Batch, Replied};

use crate::attempts::error;
use crate::check::Promise;
use crate::coverage::Point;
use crate::datagrams::addresses::Verdict;
use crate::datagrams::plan::{FIRST_UDP_PORT, OVERHEAD, SocketPlan};
use crate::datagrams::state::{InHand, Socket};
use crate::datagrams::{BATCH, LONGEST};
use crate::host::{SimulatedHost, note};
use crate::profile::Profile;
use crate::time::{MILLISECOND, SECOND};

/// The loop receives no further batch from a socket in a turn when it has received so many datagrams. A receive that is
/// interrupted counts as one.
const DATAGRAMS_PER_TURN: usize = 256;
/// Neither does it when it has so many bytes to reply with.
const BYTES_PER_TURN: u64 = 512 * 1024;
/// The number of events in a row without a datagram that the loop takes for a spin.
const MOST_EMPTY_EVENTS: u32 = 16;
/// The shortest pause of a socket whose receive has failed. An earlier one would only fail again.
const LEAST_PAUSE: u64 = MILLISECOND;
/// The shortest time between two questions for the system's drops, unless somebody asks for statistics.
const LEAST_CHECK_PAUSE: u64 = 10 * MILLISECOND;

/// A UDP socket, as the loop holds it.
#[derive(Debug)]
pub struct DatagramSocket {
    /// The index of the socket.
    pub index: usize,
}

impl Socket {
    pub(crate) fn new(plan: SocketPlan, index: usize) -> Socket {
        let port = FIRST_UDP_PORT + index as u16;
        Socket {
            plan,
            port,
            label: format!("udp {index}"),
            closed: false,
            watch: None,
            unwatched: None,
            queue: Default::default(),
            queued: 0,
            dropped: 0,
            asked: None,
            failed: None,
            fails_until: 0,
            errors_until: 0,
            empty_events: 0,
            event_turn: 0,
            received: 0,
            bytes: 0,
            done: false,
        }
    }

    /// The socket as it is when the loop begins.
    pub(crate) fn open(&self, index: usize) -> OpenDatagramSocket<DatagramSocket> {
        let label = Label { name: self.label.as_str().into(), address: format!("udp *:{}", self.port).into() };
        OpenDatagramSocket {
            socket: DatagramSocket { index },
            port: self.port,
            label,
            given: self.plan.given,
            faults: None,
        }
    }

    /// Whether the share of a turn is used up.
    fn used_up(&self) -> bool {
        self.received >= DATAGRAMS_PER_TURN || self.bytes >= BYTES_PER_TURN
    }

    /// Begins the share of a turn.
    pub(crate) fn begin_share(&mut self) {
        (self.received, self.bytes, self.done) = (0, 0, false);
    }
}

impl SimulatedHost {
    pub(crate) fn watch_datagrams(&mut self, index: usize, target: Target) -> io::Result<()> {
        if self.tally.turns > 0 && self.fault(Point::WatchDatagramsFails) {
            self.udp.sockets[index].unwatched = Some(self.turn_time);
            return error(self.dice.pick([Errno::ENOMEM, Errno::EINTR]));
        }
        let socket = &mut self.udp.sockets[index];
        (socket.watch, socket.unwatched) = (Some(target), None);
        Ok(())
    }

    /// Removes the registration, and returns it and whether the call fails nevertheless.
    pub(crate) fn unwatch_datagrams(&mut self, index: usize) -> (Option<Target>, bool) {
        let draining = self.drain_deadline.is_some();
        let socket = &mut self.udp.sockets[index];
        socket.unwatched = Some(self.turn_time);
        let was = socket.watch.take();
        if !draining && socket.failed != Some(self.turn_time) {
            self.broken(Promise::Fair, || format!("UDP socket {index} is unwatched without a reason"));
        }
        (was, self.fault(Point::UnwatchDatagramsFails))
    }

    pub(crate) fn receive_batch(&mut self, index: usize, batch: &mut Batch) -> io::Result<usize> {
        batch.clear();
        self.enter()?;
        let draining = self.drain_deadline.is_some();
        self.udp.received_since_check.get_or_insert(self.turn_time);
        self.check_receive(index);
        let received = self.try_receive_batch(index, batch);
        note!(self, "UDP socket {index}: receive -> {received:?}");
        let socket = &mut self.udp.sockets[index];
        socket.received += *received.as_ref().unwrap_or(&1);
        socket.done = match &received {
            Ok(n) => *n < BATCH && !draining,
            Err(error) => error.kind() != io::ErrorKind::Interrupted,
        };
        received
    }

    /// Checks that the loop may receive from this socket now.
    fn check_receive(&mut self, index: usize) {
        let (turn, drains_now) = (self.tally.turns, self.drain_began_in == self.tally.turns);
        let draining = self.drain_deadline.is_some();
        let unanswered = self.udp.in_hand.len();
        let socket = &self.udp.sockets[index];
        let pause = socket.failed.map_or(0..0, |since| since..since + LEAST_PAUSE);
        let (promise, what) = if unanswered > 0 {
            (Promise::Answers, format!("is received from with {unanswered} datagrams not replied to"))
        } else if draining && socket.plan.given {
            (Promise::Given, "is given, and received from in a drain".to_owned())
        } else if socket.event_turn != turn && !drains_now {
            (Promise::Provoked, "is received from without an event".to_owned())
        } else if socket.received >= DATAGRAMS_PER_TURN {
            (Promise::Work, format!("is received from after {} datagrams in a turn", socket.received))
        } else if socket.bytes >= BYTES_PER_TURN {
            (Promise::Work, format!("is received from after {} bytes in a turn", socket.bytes))
        } else if pause.contains(&self.turn_time) && !drains_now {
            (Promise::Busy, "is received from at once after a failure".to_owned())
        } else {
            return;
        };
        self.broken(promise, || format!("UDP socket {index} {what}"));
    }

    fn try_receive_batch(&mut self, index: usize, batch: &mut Batch) -> io::Result<usize> {
        if self.fault(Point::DatagramsInterrupted) {
            return error(Errno::EINTR);
        }
        for (fault, errnos) in [
            (Point::DatagramsNoMemory, [Errno::ENOMEM, Errno::ENOBUFS]),
            (Point::DatagramsRefused, [Errno::ECONNREFUSED, Errno::EHOSTUNREACH]),
            (Point::DatagramsFail, [Errno::EIO, Errno::ENETDOWN]),
        ] {
            let lasts = self.udp.sockets[index].fails_until > self.time;
            if self.fault(fault) || lasts {
                let long = self.dice.pick([0, 0, 30 * MILLISECOND, SECOND]);
                let socket = &mut self.udp.sockets[index];
                if !lasts && fault != Point::DatagramsRefused {
                    socket.fails_until = self.time + long;
                }
                if lasts {
                    self.coverage.count(Point::DatagramsFailAgain);
                    self.work += 1;
                }
                self.fail_datagrams(index);
                return error(self.dice.pick(errnos));
            }
        }
        let waiting = self.udp.sockets[index].queue.len();
        if waiting == 0 || self.fault(Point::DatagramsEmpty) {
            self.find_nothing(index);
            return error(Errno::EAGAIN);
        }
        self.udp.sockets[index].empty_events = 0;
        let mut n = waiting.min(BATCH);
        if n > 1 && self.fault(Point::DatagramsShort) {
            n = 1 + self.dice.below(n as u64 - 1) as usize;
        }
        for _ in 0..n {
            self.take_datagram(index, batch);
        }
        self.work += 1;
        Ok(n)
    }

    /// Records that the loop has found no datagram. An event without one counts as work, but not for ever.
    fn find_nothing(&mut self, index: usize) {
        if self.fault(Point::DatagramErrors) {
            let long = self.dice.pick([0, MILLISECOND, 50 * MILLISECOND]);
            self.udp.sockets[index].errors_until = self.time + long;
        }
        let socket = &mut self.udp.sockets[index];
        if socket.received > 0 {
            return;
        }
        self.work += 1;
        socket.empty_events += 1;
        if socket.empty_events == MOST_EMPTY_EVENTS {
            socket.empty_events = 0;
            self.coverage.count(Point::ReadyInVain);
            self.fail_datagrams(index);
        }
    }

    /// Records that a receive has failed, after which the loop leaves the socket alone.
    fn fail_datagrams(&mut self, index: usize) {
        self.udp.sockets[index].failed = Some(self.turn_time);
        self.udp.last_failure = Some(self.turn_time);
        self.tally.datagram_failures += 1;
    }

    /// Moves a datagram from the receive buffer to the batch.
    fn take_datagram(&mut self, index: usize, batch: &mut Batch) {
        let socket = &mut self.udp.sockets[index];
        let Some(number) = socket.queue.pop_front() else { return };
        let datagram = self.udp.datagrams[number];
        socket.queued -= datagram.length + OVERHEAD;
        let verdict = self.verdict(number);
        match verdict {
            Verdict::Answer => {
                self.udp.sockets[index].bytes += datagram.length;
                self.tally.messages += 1;
                self.tally.bytes_in += datagram.length;
                self.draw_fate(number);
            }
            Verdict::Refuse(refusal) => {
                self.tally.refused_datagrams[refusal as usize] += 1;
                self.count_refusal(refusal);
            }
            Verdict::Drop => {
                self.tally.datagrams_dropped_out += 1;
                self.udp.dropped_by_calls += 1;
                self.coverage.count(Point::DestinationUnknown);
            }
        }
        self.udp.payload.resize(LONGEST as usize, 0);
        let payload = &mut self.udp.payload[..datagram.length as usize];
        datagram.fill(payload);
        let pushed = batch.push(datagram.source, datagram.destination, payload);
        if pushed.is_err() {
            self.broken(Promise::Answers, || "a batch that was cleared has no room".to_owned());
        }
        if verdict == Verdict::Drop
            && let Some(mut last) = batch.iter_mut().last()
        {
            last.refuse();
        }
        self.udp.in_hand.push(InHand { datagram: number, verdict });
    }

    pub(crate) fn reply_to_batch(&mut self, index: usize, batch: &Batch) -> Replied {
        let mut replied = Replied::default();
        if self.enter().is_err() {
            return replied;
        }
        let numbers: Vec<usize> = if !self.has_fates() {
            self.check_batch(index, batch);
            let in_hand = std::mem::take(&mut self.udp.in_hand);
            self.udp.logged = 0;
            let answered = in_hand.iter().zip(batch.iter()).filter(|(_, reply)| !reply.is_refused());
            answered.map(|(in_hand, _)| in_hand.datagram).collect()
        } else if batch.iter().all(|reply| reply.is_refused()) {
            self.check_batch_of_fates(index, batch);
            Vec::new()
        } else {
            self.take_owed(index, batch)
        };
        let mut is_full = false;
        for (datagram, reply) in numbers.into_iter().zip(batch.iter().filter(|reply| !reply.is_refused())) {
            let length = reply.payload().len() as u64;
            is_full |= self.fault(Point::RepliesFull);
            // A prefix can make a datagram longer than it may be.
            let too_long = length > LONGEST;
            if too_long {
                self.coverage.count(Point::ReplyTooLong);
            }
            if is_full || too_long || self.fault(Point::ReplyFails) {
                replied.dropped += 1;
                continue;
            }
            replied.sent += 1;
            replied.bytes += length;
            self.reply_arrives(datagram);
        }
        self.tally.datagrams_sent += replied.sent as u64;
        self.tally.datagrams_dropped_out += replied.dropped as u64;
        self.udp.dropped_by_calls += replied.dropped as u64;
        self.tally.bytes_out += replied.bytes;
        note!(self, "UDP socket {index}: {replied:?}");
        replied
    }

    pub(crate) fn take_drops(&mut self, index: usize) -> u64 {
        let _ = self.enter();
        let excused = self.udp.statistics_turn == self.tally.turns || self.drain_began_in == self.tally.turns;
        let (now, counts) = (self.turn_time, self.plan.profile == Profile::Epoll);
        let socket = &mut self.udp.sockets[index];
        let soon = socket.asked.is_some_and(|asked| now < asked + LEAST_CHECK_PAUSE);
        socket.asked = Some(now);
        let dropped = std::mem::take(&mut socket.dropped);
        self.udp.received_since_check = None;
        if !soon {
            self.work += 1;
        } else if !excused && !self.has_fates() {
            self.broken(Promise::Busy, || format!("UDP socket {index} is asked for its drops again at once"));
        }
        if !counts {
            return 0;
        }
        if dropped > 0 {
            self.coverage.count(Point::DropsCounted);
        }
        self.tally.datagrams_dropped_in += dropped;
        dropped
    }

    pub(crate) fn close_udp(&mut self, index: usize) {
        let _ = self.enter();
        self.work += 1;
        let drains_now = self.drain_began_in == self.tally.turns;
        let now = self.turn_time;
        let socket = &mut self.udp.sockets[index];
        socket.closed = true;
        let left = std::mem::take(&mut socket.queue).len();
        let socket = &self.udp.sockets[index];
        let served = socket.done || socket.used_up();
        let fault = if !drains_now {
            Some((Promise::Given, "is closed, and no drain begins"))
        } else if socket.watch.is_some() {
            Some((Promise::Descriptors, "is closed while it is watched"))
        } else if !socket.plan.given && !served {
            Some((Promise::Drain, "is closed without a last look"))
        } else if socket.asked != Some(now) {
            Some((Promise::Counters, "is closed without the count of its drops"))
        } else {
            None
        };
        if socket.plan.given && left > 0 {
            self.coverage.count(Point::GivenDatagramsLeft);
        } else if !socket.plan.given && socket.received > 1 {
            self.coverage.count(Point::LastDatagramsAnswered);
        }
        note!(self, "UDP socket {index}: closed with {left} datagrams in it");
        if let Some((promise, what)) = fault {
            self.broken(promise, || format!("UDP socket {index} {what}"));
        }
    }

    /// Checks that a socket with an event was received from until the share of the turn or the datagrams ran out.
    pub(crate) fn check_datagram_events(&mut self) {
        let turn = self.tally.turns;
        let passed_over = self
            .udp
            .sockets
            .iter()
            .position(|socket| socket.event_turn == turn && !socket.closed && !socket.done && !socket.used_up());
        if let Some(index) = passed_over {
            self.broken(Promise::Fair, || format!("UDP socket {index}: datagrams are left in it"));
        }
        for index in 0..self.udp.sockets.len() {
            let socket = &self.udp.sockets[index];
            if socket.event_turn == turn && !socket.queue.is_empty() {
                if socket.received >= DATAGRAMS_PER_TURN {
                    self.coverage.count(Point::DatagramsUsedUp);
                } else if socket.bytes >= BYTES_PER_TURN {
                    self.coverage.count(Point::DatagramBytesUsedUp);
                }
            }
        }
    }
}
