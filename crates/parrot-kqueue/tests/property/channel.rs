//! Two watched descriptors, and the model's view of them and of their registrations.

use crate::step::{Direction, Mode};
use parrot_kqueue::{Source, Token};
use rustix::io::Errno;
use std::{
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    rc::Rc,
};

/// Whether a wait has to report a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Must,
    May,
    MustNot,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Registration {
    pub(crate) token: Token,
    pub(crate) mode: Mode,
    pub(crate) enabled: bool,
    /// Something has happened since an edge-triggered registration was last reported.
    pub(crate) news: bool,
    /// It was reported, and nothing has been done with its channel since.
    pub(crate) told: bool,
    /// It has been ready since it was added. A kqueue does not look again before it reports a one-shot.
    pub(crate) woken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Empty,
    Partly,
    Full,
}

/// Two watched descriptors, and the ends that feed and drain them.
pub(crate) struct Channel {
    pub(crate) pipe: bool,
    /// The watched ends. For a socket both are the same descriptor.
    pub(crate) reader: Rc<OwnedFd>,
    pub(crate) writer: Rc<OwnedFd>,
    /// The other ends. `None` once they are closed.
    pub(crate) feeder: Option<Rc<OwnedFd>>,
    pub(crate) drainer: Option<Rc<OwnedFd>>,
    pub(crate) pending: usize,
    pub(crate) room: Room,
    pub(crate) registrations: [Option<Registration>; 2],
}

impl Channel {
    pub(crate) fn open(pipe: bool) -> Self {
        let (reader, writer, feeder, drainer): (Rc<OwnedFd>, Rc<OwnedFd>, Rc<OwnedFd>, Rc<OwnedFd>) = if pipe {
            let (reader, feeder) = std::io::pipe().unwrap();
            let (drainer, writer) = std::io::pipe().unwrap();
            (Rc::new(reader.into()), Rc::new(writer.into()), Rc::new(feeder.into()), Rc::new(drainer.into()))
        } else {
            let (near, far) = UnixStream::pair().unwrap();
            let (near, far) = (Rc::new(near.into()), Rc::new(far.into()));
            (Rc::clone(&near), near, Rc::clone(&far), far)
        };
        for end in [&reader, &writer, &feeder, &drainer] {
            rustix::io::ioctl_fionbio(end, true).unwrap();
        }
        let (feeder, drainer) = (Some(feeder), Some(drainer));
        Channel { pipe, reader, writer, feeder, drainer, pending: 0, room: Room::Empty, registrations: [None; 2] }
    }

    pub(crate) fn watched(&self, direction: Direction) -> BorrowedFd<'_> {
        match direction {
            Direction::Read => self.reader.as_fd(),
            Direction::Write => self.writer.as_fd(),
        }
    }

    pub(crate) fn source(&self, direction: Direction) -> Source<'_> {
        match direction {
            Direction::Read => Source::Read(self.watched(direction)),
            Direction::Write => Source::Write(self.watched(direction)),
        }
    }

    pub(crate) fn registration(&mut self, direction: Direction) -> Option<&mut Registration> {
        self.registrations[direction as usize].as_mut()
    }

    pub(crate) fn note_news(&mut self, direction: Direction) {
        if let Some(registration) = self.registration(direction) {
            registration.news |= registration.enabled;
        }
    }

    /// Systems differ on a pipe without a reader. Some always report it, and some only once.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.pipe && self.drainer.is_none()
    }

    /// Whether there is a registration to delete, enable or disable. `None` if the model cannot know.
    pub(crate) fn has(&self, direction: Direction) -> Option<bool> {
        let unknown = direction == Direction::Write && self.is_broken_pipe();
        (!unknown).then(|| self.registrations[direction as usize].is_some())
    }

    /// Whether a call would not block, whatever is registered.
    pub(crate) fn ready(&self, direction: Direction) -> Due {
        match direction {
            Direction::Read if self.pending > 0 || self.feeder.is_none() => Due::Must,
            Direction::Read => Due::MustNot,
            Direction::Write if self.is_broken_pipe() => Due::May,
            Direction::Write if self.drainer.is_none() || self.room == Room::Empty => Due::Must,
            Direction::Write if self.room == Room::Full => Due::MustNot,
            Direction::Write => Due::May,
        }
    }

    pub(crate) fn due(&self, direction: Direction) -> Due {
        let Some(registration) = self.registrations[direction as usize] else { return Due::MustNot };
        if !registration.enabled {
            return Due::MustNot;
        }
        match self.ready(direction) {
            _ if registration.mode.is_edge() && registration.told => Due::MustNot,
            Due::Must if registration.mode.is_edge() && !registration.news => Due::May,
            Due::MustNot if registration.mode.is_one_shot() && registration.woken => Due::May,
            ready => ready,
        }
    }
}

/// Writes this many bytes, or as many as there is room for.
pub(crate) fn write(to: &OwnedFd, bytes: usize) -> usize {
    match rustix::io::write(to, &[7; 65536][..bytes]) {
        Ok(written) => written,
        Err(Errno::AGAIN) => 0,
        Err(errno) => panic!("{errno}"),
    }
}

/// Reads at most this many bytes.
pub(crate) fn read(from: &OwnedFd, most: usize) -> usize {
    let mut buffer = [0; 65536];
    let mut total = 0;
    while total < most {
        let most = buffer.len().min(most - total);
        match rustix::io::read(from, &mut buffer[..most]) {
            Ok(0) | Err(Errno::AGAIN) => break,
            Ok(read) => total += read,
            // Linux reports this once, before the bytes, if the peer closed without having read everything.
            Err(Errno::CONNRESET) => {}
            Err(errno) => panic!("{errno}"),
        }
    }
    total
}
