//! Everything that happens beside the loop: what peers do, signals, and handles that stop the server.

use std::sync::atomic::Ordering;

use nix::errno::Errno;
use parrot_kqueue::Signal;

use crate::connection::Stage;
use crate::coverage::Point;
use crate::headers::Fate;
use crate::host::{Action, SimulatedHost, note};
use crate::peer::Finish;
use crate::profile::Profile;
use crate::time::{MILLISECOND, SECOND};

impl SimulatedHost {
    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::Connect(connection) => self.connect(connection),
            Action::Write(connection) => self.write(connection),
            Action::Read(connection) => self.read(connection),
            Action::Reset(connection) => self.break_connection(connection, Errno::ECONNRESET),
            Action::TimeOut(connection) => {
                let errno =
                    self.connections[connection].dice.pick([Errno::ETIMEDOUT, Errno::ETIMEDOUT, Errno::EHOSTUNREACH]);
                self.break_connection(connection, errno);
            }
            Action::Stop => self.stop(),
            Action::StopAgain => {
                self.coverage.count(Point::StopTwice);
                self.ask_for_drain();
            }
            Action::SecondSignal => self.post(self.plan.ending.second_signal),
            Action::Signal(signal) => self.pending_signals.push(signal),
            Action::Wake => self.pending_wake = true,
            Action::Change(which) => self.ask_for_change(which),
            Action::Send(sender, number) => self.send_datagrams(sender as usize, number.into()),
            Action::Arrive(socket, datagram) => self.arrive(socket as usize, datagram as usize),
        }
    }

    /// Stops the server as planned.
    pub(crate) fn stop(&mut self) {
        let ending = self.plan.ending.clone();
        note!(self, "the server is stopped");
        if ending.by_signal {
            self.post(ending.signal);
        } else {
            self.ask_for_drain();
        }
        if let Some(after) = ending.second_after {
            self.schedule(after, Action::SecondSignal);
        }
        if let Some(after) = ending.again_after {
            self.schedule(after, Action::StopAgain);
        }
    }

    /// Does what a handle does to drain the server.
    fn ask_for_drain(&mut self) {
        self.shared.drain_wanted.store(true, Ordering::Release);
        self.pending_wake = true;
        if self.handles.changing {
            self.drain_by_handle();
        }
    }

    /// Posts a signal that ends the server.
    pub(crate) fn post(&mut self, signal: Signal) {
        let pending = self.pending_stops.entry(signal).or_default();
        *pending = match self.plan.profile {
            // EVFILT_SIGNAL counts what was posted since the last event.
            Profile::Kqueue => *pending + 1,
            // A pending signal is not queued again (signal(7)).
            Profile::Epoll => 1,
        };
    }

    fn connect(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let port = &mut self.ports[connection.port];
        if port.closed {
            connection.stage = Stage::Dropped;
            self.coverage.count(Point::ConnectRefused);
            note!(self, "peer {index} is refused");
            return;
        }
        if port.backlog.len() >= self.plan.backlog {
            self.coverage.count(Point::BacklogFull);
            connection.attempts += 1;
            if connection.attempts < 4 {
                self.schedule(MILLISECOND, Action::Connect(index));
            } else {
                connection.stage = Stage::Dropped;
            }
            return;
        }
        port.backlog.push_back(index);
        connection.stage = Stage::Backlog;
        let (gap, reset_after) = (connection.plan.write_gap, connection.plan.reset_after);
        note!(
            self,
            "peer {index} ({}) connects: {:?}",
            self.connections[index].plan.kind,
            self.connections[index].plan
        );
        let gap = self.connections[index].dice.between(gap);
        self.schedule(gap, Action::Write(index));
        self.schedule(0, Action::Read(index));
        if let Some(after) = reset_after {
            self.schedule(after, Action::Reset(index));
        }
    }

    /// Whether the peer can still use its connection.
    fn peer_lives(&self, index: usize) -> bool {
        let connection = &self.connections[index];
        matches!(connection.stage, Stage::Backlog | Stage::Open)
            && !connection.broken
            && !connection.vanished
            && !connection.peer_closed
    }

    fn write(&mut self, index: usize) {
        if !self.peer_lives(index) || self.connections[index].peer_ended {
            return;
        }
        let connection = &mut self.connections[index];
        connection.writer_waits = false;
        match connection.header.as_ref().map(|header| (header.has_more(), header.plan.fate)) {
            Some((true, _)) => return self.write_header(index),
            Some((false, Fate::Ends)) => return self.end_stream(index),
            Some((false, Fate::Stops)) => return,
            _ => {}
        }
        let left = connection.plan.bytes - connection.written;
        let room = connection.plan.receive_room - connection.unreceived();
        if left == 0 || (connection.saw_end && connection.plan.lockstep) {
            return self.finish(index);
        }
        if room == 0 || (connection.plan.lockstep && !connection.is_echoed()) {
            connection.writer_waits = true;
            return;
        }
        let (from, range, gap) = (connection.written, connection.plan.write, connection.plan.write_gap);
        let n = self.connections[index].dice.between(range).min(left).min(room);
        let gap = self.connections[index].dice.between(gap);
        let connection = &mut self.connections[index];
        connection.written += n;
        connection.edge = true;
        if let Some(urgent) = connection.plan.urgent_at.filter(|at| (from..from + n).contains(at)) {
            connection.urgent = Some(urgent);
        }
        note!(self, "peer {index} writes {n} at {from}");
        self.schedule(gap, Action::Write(index));
    }

    /// Writes the next piece of a PROXY header, and what follows it.
    fn write_header(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let room = connection.plan.receive_room - connection.unreceived();
        let Some(header) = connection.header.as_deref_mut().filter(|_| room > 0) else {
            connection.writer_waits = true;
            return;
        };
        let n = connection.dice.between(header.plan.piece).min(header.length() - header.written).min(room);
        let gap = connection.dice.between(header.plan.gap);
        header.written += n;
        let (has_more, glued, fate) = (header.has_more(), header.plan.glued, header.plan.fate);
        connection.edge = true;
        note!(self, "peer {index} writes {n} of its header, which is {fate:?}");
        match glued && !has_more {
            true => self.write(index),
            false => self.schedule(gap, Action::Write(index)),
        }
    }

    fn finish(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        match connection.plan.finish {
            Finish::HalfClose => self.end_stream(index),
            Finish::ReadThenClose | Finish::Stay if connection.saw_end => self.end_stream(index),
            Finish::ReadThenClose if connection.is_echoed() => self.end_stream(index),
            Finish::ReadThenClose | Finish::Stay => connection.writer_waits = true,
            Finish::Linger => {}
            Finish::Close if connection.sent > connection.read => self.break_connection(index, Errno::ECONNRESET),
            Finish::Close => {
                connection.peer_closed = true;
                self.end_stream(index);
            }
            Finish::Reset => self.break_connection(index, Errno::ECONNRESET),
            Finish::Vanish => {
                connection.vanished = true;
                note!(self, "peer {index} vanishes");
                let after = self.connections[index].dice.pick([0, MILLISECOND, 50 * MILLISECOND, SECOND]);
                if after > 0 {
                    self.schedule(after, Action::TimeOut(index));
                }
            }
        }
    }

    fn end_stream(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        connection.peer_ended = true;
        connection.edge = true;
        note!(self, "peer {index} ends its stream at {}", self.connections[index].written);
    }

    fn read(&mut self, index: usize) {
        if !self.peer_lives(index) || self.connections[index].plan.read.1 == 0 {
            return;
        }
        let connection = &mut self.connections[index];
        if let Some((_, long)) = connection.plan.pause.take_if(|(at, _)| *at <= connection.read) {
            return self.schedule(long, Action::Read(index));
        }
        let waiting = connection.sent - connection.read;
        if waiting == 0 {
            connection.reader_waits = !connection.shut;
            if connection.shut && !connection.saw_end {
                connection.saw_end = true;
                note!(self, "peer {index} sees the end at {}", self.connections[index].read);
                self.wake_writer(index);
            }
            return;
        }
        let (range, gap) = (connection.plan.read, connection.plan.read_gap);
        let n = self.connections[index].dice.between(range).min(waiting);
        let gap = self.connections[index].dice.between(gap);
        let connection = &mut self.connections[index];
        connection.read += n;
        note!(self, "peer {index} reads {n}");
        if self.connections[index].is_echoed() {
            self.wake_writer(index);
        }
        self.schedule(gap, Action::Read(index));
    }

    /// Lets a peer that waits write or finish.
    pub(crate) fn wake_writer(&mut self, index: usize) {
        if std::mem::take(&mut self.connections[index].writer_waits) {
            let connection = &mut self.connections[index];
            let gap = connection.dice.between(connection.plan.write_gap);
            self.schedule(gap, Action::Write(index));
        }
    }

    /// Lets a peer that waits read or see the end.
    pub(crate) fn wake_reader(&mut self, index: usize) {
        if std::mem::take(&mut self.connections[index].reader_waits) {
            let connection = &mut self.connections[index];
            let gap = connection.dice.between(connection.plan.read_gap);
            self.schedule(gap, Action::Read(index));
        }
    }

    /// Fails the connection under the server's socket.
    fn break_connection(&mut self, index: usize, errno: Errno) {
        let connection = &mut self.connections[index];
        if !matches!(connection.stage, Stage::Backlog | Stage::Open) || connection.broken {
            return;
        }
        note!(self, "peer {index} is gone: {errno}");
        let connection = &mut self.connections[index];
        connection.broken = true;
        connection.error = Some(errno);
        connection.edge = true;
        if connection.stage == Stage::Backlog {
            self.coverage.count(Point::ResetInBacklog);
        }
        if connection.unreceived() > 0 {
            self.coverage.count(Point::ResetWithBytes);
            // Some systems throw away bytes that were not received.
            let connection = &mut self.connections[index];
            if connection.dice.chance(128) {
                connection.written = connection.received;
                if let Some(header) = &mut connection.header {
                    header.written = header.received;
                }
            }
        }
    }
}
