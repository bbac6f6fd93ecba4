//! A connection with faults and its peer, in virtual time.

use std::time::Duration;

use parrot_conn::fault::{Ending, Faults, Input};
use parrot_conn::{BufferPool, Connection, NoSpace};

/// What a peer does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It sends this many bytes at once.
    Send(usize),
    /// Time passes.
    Wait(Duration),
    /// It ends its stream.
    End,
    /// From now on its socket takes this many bytes per call. With 0 it takes none until there is room again.
    Room(usize),
}

/// Bytes that have moved, and when.
pub type Moved = (Duration, usize);

/// A connection that does what its faults permit, as a loop does.
#[derive(Debug)]
pub struct World {
    faults: Faults,
    connection: Connection,
    pool: BufferPool,
    room: usize,
    /// The bytes that the peer has sent and nobody has received.
    unread: usize,
    peer_ended: bool,
    now: Duration,
    /// When the connection asks again although nothing has happened.
    pub again: Option<Duration>,
    /// Each message that was received to be echoed.
    pub received: Vec<Moved>,
    /// Each piece that was sent.
    pub sent: Vec<Moved>,
    /// The bytes that were received and thrown away.
    pub discarded: usize,
    /// The steps of the end, each with its time.
    pub endings: Vec<(Duration, Ending)>,
    /// When the connection closed because both sides had ended their streams.
    pub closed: Option<Duration>,
}

/// The most steps that one turn can take. More would be a spin.
const MOST_STEPS: usize = 100_000;

impl World {
    /// A connection whose buffer has this size, accepted at time zero.
    pub fn new(faults: Box<Faults>, buffer_size: usize) -> World {
        World {
            faults: *faults,
            connection: Connection::new(),
            pool: BufferPool::new(buffer_size, buffer_size),
            room: usize::MAX,
            unread: 0,
            peer_ended: false,
            now: Duration::ZERO,
            again: None,
            received: Vec::new(),
            sent: Vec::new(),
            discarded: 0,
            endings: Vec::new(),
            closed: None,
        }
    }

    /// Lets the peer do all of this.
    pub fn act(&mut self, acts: impl IntoIterator<Item = Act>) {
        for act in acts {
            match act {
                Act::Send(n) => self.unread += n,
                Act::End => self.peer_ended = true,
                Act::Room(n) => self.room = n,
                Act::Wait(time) => {
                    self.turn();
                    self.pass(time);
                }
            }
            self.turn();
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(again) = self.again.filter(|again| *again <= end) {
            self.now = again;
            self.turn();
        }
        self.now = end;
    }

    /// The bytes that were sent.
    pub fn bytes_sent(&self) -> usize {
        self.sent.iter().map(|(_, n)| n).sum()
    }

    /// The bytes that the peer has sent and that nobody has received.
    pub fn unread(&self) -> usize {
        self.unread
    }

    /// Whether nothing can happen any more.
    pub fn is_over(&self) -> bool {
        self.closed.is_some() || self.endings.iter().any(|(_, ending)| *ending != Ending::Finish)
    }

    /// Does all that is possible now.
    fn turn(&mut self) {
        let mut steps = 0;
        while !self.is_over() && self.step() {
            steps += 1;
            assert!(steps < MOST_STEPS, "it spins at {:?}", self.now);
        }
        if self.is_over() {
            self.again = None;
        }
        self.connection.release(&mut self.pool);
    }

    /// Does one thing. False if there was nothing to do.
    fn step(&mut self) -> bool {
        let pending = self.connection.to_send().len();
        let permit = self.faults.permit(pending, self.now);
        assert!(permit.again.is_none_or(|again| again > self.now), "at {:?}: {permit:?}", self.now);
        assert!(permit.send <= pending, "{permit:?} of {pending} bytes");
        self.again = permit.again;
        if let Some(ending) = permit.ending {
            assert_eq!((permit.send, permit.input), (0, Input::Discard), "nothing is echoed at the end");
            self.endings.push((self.now, ending));
            if ending == Ending::Finish {
                // What is pending is discarded.
                self.connection.sent(pending);
                self.connection.shut_down();
                self.faults.shut_down(self.now);
                self.note_close();
            }
            return true;
        }
        self.send(permit.send) || self.take_input(permit.input)
    }

    fn send(&mut self, most: usize) -> bool {
        let n = most.min(self.room);
        if n == 0 {
            return false;
        }
        let start = self.bytes_sent();
        let bytes = self.connection.to_send().iter().take(n);
        assert!((start..).zip(bytes).all(|(place, byte)| *byte == byte_at(place)), "another byte than was received");
        self.connection.sent(n);
        self.faults.sent(n, self.now);
        self.sent.push((self.now, n));
        true
    }

    fn take_input(&mut self, input: Input) -> bool {
        if input == Input::Wait {
            return false;
        }
        if self.unread == 0 {
            let is_new = self.peer_ended && !self.connection.has_input_ended();
            if is_new {
                self.connection.received_end();
                self.faults.received_end();
                self.note_close();
            }
            return is_new;
        }
        if input == Input::Discard {
            self.discarded += self.unread;
            self.unread = 0;
            return true;
        }
        let start: usize = self.received.iter().map(|(_, n)| n).sum();
        match self.connection.receive_space(&mut self.pool) {
            Ok(space) => {
                let n = space.len().min(self.unread);
                for (place, byte) in (start..start + n).zip(space) {
                    *byte = byte_at(place);
                }
                self.connection.received(n);
                self.faults.received(n, self.now);
                self.received.push((self.now, n));
                self.unread -= n;
                true
            }
            Err(NoSpace::OutputFull) => false,
            Err(other) => panic!("{other}"),
        }
    }

    fn note_close(&mut self) {
        self.closed = self.connection.close_reason().map(|_| self.now);
    }
}

/// The byte at a place of the peer's stream.
fn byte_at(place: usize) -> u8 {
    (place % 251) as u8
}
