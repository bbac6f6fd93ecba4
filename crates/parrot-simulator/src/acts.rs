//! What happens beside the loop: peers connect, write, read and end, signals come, handles stop the server.

use std::sync::atomic::Ordering;

use nix::errno::Errno;

use crate::coverage::Point;
use crate::host::{Action, SimulatedHost, note};
use crate::link::Stage;
use crate::peer::Finish;
use crate::plan::{MILLISECOND, SECOND, Stop};
use crate::profile::Profile;

impl SimulatedHost {
    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::Connect(link) => self.connect(link),
            Action::Write(link) => self.write(link),
            Action::Read(link) => self.read(link),
            Action::Reset(link) => self.break_link(link, Errno::ECONNRESET),
            Action::TimeOut(link) => {
                let errno = self.links[link].dice.pick([Errno::ETIMEDOUT, Errno::ETIMEDOUT, Errno::EHOSTUNREACH]);
                self.break_link(link, errno);
            }
            Action::Stop => self.stop(),
            Action::StopAgain => {
                self.coverage.count(Point::StopTwice);
                self.shared.drain_wanted.store(true, Ordering::Release);
                self.pending_wake = true;
            }
            Action::SecondSignal => self.post(self.plan.ending.second_signal),
            Action::Signal { hangup } => self.pending_signals.push((hangup, 1)),
            Action::Wake => self.pending_wake = true,
        }
    }

    /// Tells the server to end, as planned.
    pub(crate) fn stop(&mut self) {
        let ending = self.plan.ending.clone();
        note!(self, "the server is told to stop");
        if ending.by_signal {
            self.post(ending.signal);
        } else {
            self.shared.drain_wanted.store(true, Ordering::Release);
            self.pending_wake = true;
        }
        if let Some(after) = ending.second_after {
            self.schedule(after, Action::SecondSignal);
        }
        if let Some(after) = ending.again_after {
            self.schedule(after, Action::StopAgain);
        }
    }

    /// A signal that ends the server is posted.
    pub(crate) fn post(&mut self, signal: Stop) {
        let pending = &mut self.pending_stops[signal as usize];
        *pending = match self.plan.profile {
            // EVFILT_SIGNAL counts what was posted since the last event.
            Profile::Kqueue => *pending + 1,
            // A signal that is pending already is not queued again (signal(7)).
            Profile::Epoll => 1,
        };
    }

    fn connect(&mut self, index: usize) {
        let port_index = index % self.ports.len();
        let port = &mut self.ports[port_index];
        let link = &mut self.links[index];
        if port.closed {
            link.stage = Stage::Lost;
            self.coverage.count(Point::ConnectRefused);
            note!(self, "peer {index} is refused");
            return;
        }
        if port.backlog.len() >= self.plan.backlog {
            self.coverage.count(Point::BacklogFull);
            link.attempts += 1;
            if link.attempts < 4 {
                self.schedule(MILLISECOND, Action::Connect(index));
            } else {
                link.stage = Stage::Lost;
            }
            return;
        }
        port.backlog.push_back(index);
        link.stage = Stage::Backlog;
        let (gap, reset_after) = (link.plan.write_gap, link.plan.reset_after);
        note!(self, "peer {index} ({}) connects: {:?}", self.links[index].plan.kind, self.links[index].plan);
        let gap = self.links[index].dice.between(gap);
        self.schedule(gap, Action::Write(index));
        self.schedule(0, Action::Read(index));
        if let Some(after) = reset_after {
            self.schedule(after, Action::Reset(index));
        }
    }

    /// Whether the peer can still do anything on its connection.
    fn peer_lives(&self, index: usize) -> bool {
        let link = &self.links[index];
        matches!(link.stage, Stage::Backlog | Stage::Open) && !link.broken && !link.vanished && !link.peer_closed
    }

    fn write(&mut self, index: usize) {
        if !self.peer_lives(index) || self.links[index].peer_ended {
            return;
        }
        let link = &mut self.links[index];
        link.writer_waits = false;
        let left = link.plan.bytes - link.written;
        let room = link.plan.receive_room - link.waiting();
        if left == 0 || (link.saw_end && link.plan.lockstep) {
            return self.finish(index);
        }
        if room == 0 || (link.plan.lockstep && link.written > link.read) {
            link.writer_waits = true;
            return;
        }
        let (from, range, gap) = (link.written, link.plan.write, link.plan.write_gap);
        let n = self.links[index].dice.between(range).min(left).min(room);
        let gap = self.links[index].dice.between(gap);
        let link = &mut self.links[index];
        link.written += n;
        link.edge = true;
        if let Some(urgent) = link.plan.urgent_at.filter(|at| (from..from + n).contains(at)) {
            link.urgent = Some(urgent);
        }
        note!(self, "peer {index} writes {n} at {from}");
        self.schedule(gap, Action::Write(index));
    }

    fn finish(&mut self, index: usize) {
        let link = &mut self.links[index];
        match link.plan.finish {
            Finish::HalfClose => self.end_stream(index),
            Finish::ReadThenClose | Finish::Stay if link.saw_end => self.end_stream(index),
            Finish::ReadThenClose if link.read == link.written => self.end_stream(index),
            Finish::ReadThenClose | Finish::Stay => link.writer_waits = true,
            Finish::Linger => {}
            Finish::Close if link.sent > link.read => self.break_link(index, Errno::ECONNRESET),
            Finish::Close => {
                link.peer_closed = true;
                self.end_stream(index);
            }
            Finish::Reset => self.break_link(index, Errno::ECONNRESET),
            Finish::Vanish => {
                link.vanished = true;
                note!(self, "peer {index} vanishes");
                let after = self.links[index].dice.pick([0, MILLISECOND, 50 * MILLISECOND, SECOND]);
                if after > 0 {
                    self.schedule(after, Action::TimeOut(index));
                }
            }
        }
    }

    fn end_stream(&mut self, index: usize) {
        let link = &mut self.links[index];
        link.peer_ended = true;
        link.edge = true;
        note!(self, "peer {index} ends its stream at {}", self.links[index].written);
    }

    fn read(&mut self, index: usize) {
        if !self.peer_lives(index) || self.links[index].plan.read.1 == 0 {
            return;
        }
        let link = &mut self.links[index];
        let waiting = link.sent - link.read;
        if waiting == 0 {
            link.reader_waits = !link.shut;
            if link.shut && !link.saw_end {
                link.saw_end = true;
                note!(self, "peer {index} sees the end at {}", self.links[index].read);
                self.wake_writer(index);
            }
            return;
        }
        let (range, gap) = (link.plan.read, link.plan.read_gap);
        let n = self.links[index].dice.between(range).min(waiting);
        let gap = self.links[index].dice.between(gap);
        let link = &mut self.links[index];
        link.read += n;
        note!(self, "peer {index} reads {n}");
        if self.links[index].read == self.links[index].written {
            self.wake_writer(index);
        }
        self.schedule(gap, Action::Read(index));
    }

    /// The peer may write, or finish, again.
    pub(crate) fn wake_writer(&mut self, index: usize) {
        if std::mem::take(&mut self.links[index].writer_waits) {
            let link = &mut self.links[index];
            let gap = link.dice.between(link.plan.write_gap);
            self.schedule(gap, Action::Write(index));
        }
    }

    /// The peer may read again, or see the end.
    pub(crate) fn wake_reader(&mut self, index: usize) {
        if std::mem::take(&mut self.links[index].reader_waits) {
            let link = &mut self.links[index];
            let gap = link.dice.between(link.plan.read_gap);
            self.schedule(gap, Action::Read(index));
        }
    }

    /// The connection fails under the server's socket.
    fn break_link(&mut self, index: usize, errno: Errno) {
        let link = &mut self.links[index];
        if !matches!(link.stage, Stage::Backlog | Stage::Open) || link.broken {
            return;
        }
        note!(self, "peer {index} is gone: {errno}");
        let link = &mut self.links[index];
        link.broken = true;
        link.error = Some(errno);
        link.edge = true;
        if link.stage == Stage::Backlog {
            self.coverage.count(Point::ResetInBacklog);
        }
        if link.waiting() > 0 {
            self.coverage.count(Point::ResetWithBytes);
            // Some systems throw away what was not received, others do not.
            let link = &mut self.links[index];
            if link.dice.chance(128) {
                link.written = link.received;
            }
        }
    }
}
