//! Random sequences of changes, writes, reads and closes against a model of what may be delivered.
//!
//! The model knows of each registration whether it has to be reported by the next wait, may be, or must not be. It
//! asks for no more than the contract: an edge-triggered registration has to be told of what is new and may be told of
//! what is there, and between full and empty a system may draw the line of "room to write" where it likes.
//!
//! 10,000 sequences of 50 steps; `PROPTEST_CASES` says otherwise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use parrot_kqueue::{Change, Event, Events, Filter, Kqueue, Source, Token};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use rustix::io::Errno;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::ErrorKind,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    rc::Rc,
    time::Duration,
};

const CHANNELS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Level,
    Edge,
    OneShot,
    Dispatch,
    EdgeOneShot,
    EdgeDispatch,
}

impl Mode {
    const ALL: [Mode; 6] =
        [Mode::Level, Mode::Edge, Mode::OneShot, Mode::Dispatch, Mode::EdgeOneShot, Mode::EdgeDispatch];

    fn of<'fd>(self, change: Change<'fd>) -> Change<'fd> {
        match self {
            Mode::Level => change,
            Mode::Edge => change.edge(),
            Mode::OneShot => change.one_shot(),
            Mode::Dispatch => change.dispatch(),
            Mode::EdgeOneShot => change.edge().one_shot(),
            Mode::EdgeDispatch => change.edge().dispatch(),
        }
    }

    fn is_one_shot(self) -> bool {
        matches!(self, Mode::OneShot | Mode::EdgeOneShot)
    }

    fn is_edge(self) -> bool {
        matches!(self, Mode::Edge | Mode::EdgeOneShot | Mode::EdgeDispatch)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Add {
        channel: usize,
        direction: Direction,
        mode: Mode,
        disabled: bool,
    },
    Delete {
        channel: usize,
        direction: Direction,
    },
    Enable {
        channel: usize,
        direction: Direction,
    },
    Disable {
        channel: usize,
        direction: Direction,
    },
    /// Bytes for the watched reader to read.
    Send {
        channel: usize,
        bytes: usize,
    },
    /// The watched reader reads some or all of them.
    Receive {
        channel: usize,
        all: bool,
    },
    /// The watched writer writes a little.
    Put {
        channel: usize,
        bytes: usize,
    },
    /// The watched writer writes until there is no more room.
    Fill {
        channel: usize,
    },
    /// The other side takes everything that was written.
    Drain {
        channel: usize,
    },
    /// The other side goes.
    Hang {
        channel: usize,
    },
    /// The watched descriptors are closed and others opened in their place, with their registrations deleted first or
    /// left to the system.
    Reopen {
        channel: usize,
        pipe: bool,
        deregister: bool,
    },
    Wait,
}

impl Step {
    fn channel(self) -> Option<usize> {
        match self {
            Step::Add { channel, .. }
            | Step::Delete { channel, .. }
            | Step::Enable { channel, .. }
            | Step::Disable { channel, .. }
            | Step::Send { channel, .. }
            | Step::Receive { channel, .. }
            | Step::Put { channel, .. }
            | Step::Fill { channel }
            | Step::Drain { channel }
            | Step::Hang { channel }
            | Step::Reopen { channel, .. } => Some(channel),
            Step::Wait => None,
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let channel = 0..CHANNELS;
    let direction = prop_oneof![Just(Direction::Read), Just(Direction::Write)];
    let mode = prop::sample::select(Mode::ALL.to_vec());
    let place = (channel.clone(), direction);
    prop_oneof![
        6 => (place.clone(), mode, prop::bool::weighted(0.15)).prop_map(|((channel, direction), mode, disabled)| {
            Step::Add { channel, direction, mode, disabled }
        }),
        1 => place.clone().prop_map(|(channel, direction)| Step::Delete { channel, direction }),
        2 => place.clone().prop_map(|(channel, direction)| Step::Enable { channel, direction }),
        1 => place.prop_map(|(channel, direction)| Step::Disable { channel, direction }),
        4 => (channel.clone(), 1..3000usize).prop_map(|(channel, bytes)| Step::Send { channel, bytes }),
        3 => (channel.clone(), any::<bool>()).prop_map(|(channel, all)| Step::Receive { channel, all }),
        1 => (channel.clone(), 1..3000usize).prop_map(|(channel, bytes)| Step::Put { channel, bytes }),
        1 => channel.clone().prop_map(|channel| Step::Fill { channel }),
        1 => channel.clone().prop_map(|channel| Step::Drain { channel }),
        1 => channel.clone().prop_map(|channel| Step::Hang { channel }),
        1 => (channel, any::<bool>(), any::<bool>())
            .prop_map(|(channel, pipe, deregister)| Step::Reopen { channel, pipe, deregister }),
        8 => Just(Step::Wait),
    ]
}

/// What a wait owes to a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Must,
    May,
    MustNot,
}

#[derive(Clone, Copy, Debug)]
struct Registration {
    token: Token,
    mode: Mode,
    enabled: bool,
    /// Something has happened that an edge-triggered registration was not told of.
    news: bool,
    /// It was told, and nothing whatever has been done with its channel since.
    told: bool,
    /// It was ready at some time since it was added. A kqueue does not look again before it reports a one-shot.
    woken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Empty,
    Partly,
    Full,
}

/// Two descriptors that are watched, and what feeds and drains them.
struct Channel {
    pipe: bool,
    /// The ends that are watched; of a socket both are the same descriptor.
    reader: Rc<OwnedFd>,
    writer: Rc<OwnedFd>,
    /// The ends that are not. `None` when they have gone.
    feeder: Option<Rc<OwnedFd>>,
    drainer: Option<Rc<OwnedFd>>,
    pending: usize,
    room: Room,
    registrations: [Option<Registration>; 2],
}

impl Channel {
    fn open(pipe: bool) -> Self {
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

    fn watched(&self, direction: Direction) -> BorrowedFd<'_> {
        match direction {
            Direction::Read => self.reader.as_fd(),
            Direction::Write => self.writer.as_fd(),
        }
    }

    fn source(&self, direction: Direction) -> Source<'_> {
        match direction {
            Direction::Read => Source::Read(self.watched(direction)),
            Direction::Write => Source::Write(self.watched(direction)),
        }
    }

    fn note_news(&mut self, direction: Direction) {
        if let Some(registration) = &mut self.registrations[direction as usize] {
            registration.news = true;
        }
    }

    /// What a system makes of a pipe that nobody reads is its own: reported always or once, and then gone (see the
    /// suite).
    fn is_broken_pipe(&self) -> bool {
        self.pipe && self.drainer.is_none()
    }

    /// Whether there is a registration to be deleted, enabled or disabled, where that can be known.
    fn has(&self, direction: Direction) -> Option<bool> {
        let unknown = direction == Direction::Write && self.is_broken_pipe();
        (!unknown).then(|| self.registrations[direction as usize].is_some())
    }

    /// Whether a call would have something to do, whatever is registered.
    fn ready(&self, direction: Direction) -> Due {
        match direction {
            Direction::Read if self.pending > 0 || self.feeder.is_none() => Due::Must,
            Direction::Read => Due::MustNot,
            Direction::Write if self.is_broken_pipe() => Due::May,
            Direction::Write if self.drainer.is_none() || self.room == Room::Empty => Due::Must,
            Direction::Write if self.room == Room::Full => Due::MustNot,
            Direction::Write => Due::May,
        }
    }

    fn due(&self, direction: Direction) -> Due {
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

/// How often each filter and mode was delivered, over all sequences.
type Coverage = BTreeMap<(bool, &'static str, Mode), usize>;

struct Run<'a> {
    queue: Kqueue,
    events: Events,
    channels: Vec<Channel>,
    next_token: usize,
    coverage: &'a RefCell<Coverage>,
}

impl Run<'_> {
    fn step(&mut self, step: Step) {
        if let Some(channel) = step.channel() {
            for registration in self.channels[channel].registrations.iter_mut().flatten() {
                registration.told = false;
            }
        }
        match step {
            Step::Add { channel, direction, mode, disabled } => {
                self.next_token += 1;
                let token = Token(self.next_token);
                let channel = &mut self.channels[channel];
                let change = match direction {
                    Direction::Read => Change::add_read(channel.watched(direction), token),
                    Direction::Write => Change::add_write(channel.watched(direction), token),
                };
                let change = if disabled { mode.of(change).disabled() } else { mode.of(change) };
                let added = self.queue.apply(&[change]).all();
                let registration =
                    Registration { token, mode, enabled: !disabled, news: true, told: false, woken: false };
                channel.registrations[direction as usize] = match added.map_err(|error| error.kind()) {
                    Ok(()) => Some(registration),
                    // A pipe that nobody reads any more may be refused (see the suite).
                    Err(ErrorKind::BrokenPipe) if direction == Direction::Write && channel.is_broken_pipe() => None,
                    Err(kind) => panic!("{kind:?}: {change:?}"),
                };
            }
            Step::Delete { channel, direction } => {
                let channel = &mut self.channels[channel];
                let existed = channel.has(direction);
                expect(&self.queue, Change::delete(channel.source(direction)), existed);
                channel.registrations[direction as usize] = None;
            }
            Step::Enable { channel, direction } => {
                let channel = &mut self.channels[channel];
                let existed = channel.has(direction);
                expect(&self.queue, Change::enable(channel.source(direction)), existed);
                if let Some(registration) = &mut channel.registrations[direction as usize] {
                    registration.enabled = true;
                }
            }
            Step::Disable { channel, direction } => {
                let channel = &mut self.channels[channel];
                let existed = channel.has(direction);
                expect(&self.queue, Change::disable(channel.source(direction)), existed);
                if let Some(registration) = &mut channel.registrations[direction as usize] {
                    registration.enabled = false;
                    // Enabled again, it may or may not be told of what came in between (see the suite).
                    registration.news = false;
                }
            }
            Step::Send { channel, bytes } => {
                let channel = &mut self.channels[channel];
                let Some(feeder) = &channel.feeder else { return };
                let sent = write(feeder, bytes);
                channel.pending += sent;
                if sent > 0 && channel.registrations[0].is_some_and(|registration| registration.enabled) {
                    channel.note_news(Direction::Read);
                }
            }
            Step::Receive { channel, all } => {
                let channel = &mut self.channels[channel];
                channel.pending -= read(&channel.reader, if all { usize::MAX } else { 100 });
            }
            Step::Put { channel, bytes } => {
                let channel = &mut self.channels[channel];
                if channel.drainer.is_some() && write(&channel.writer, bytes) > 0 && channel.room == Room::Empty {
                    channel.room = Room::Partly;
                }
            }
            Step::Fill { channel } => {
                let channel = &mut self.channels[channel];
                if channel.drainer.is_some() {
                    while write(&channel.writer, 65536) > 0 {}
                    channel.room = Room::Full;
                }
            }
            Step::Drain { channel } => {
                let channel = &mut self.channels[channel];
                let Some(drainer) = &channel.drainer else { return };
                let was = std::mem::replace(&mut channel.room, Room::Empty);
                let enabled = channel.registrations[1].is_some_and(|registration| registration.enabled);
                if read(drainer, usize::MAX) > 0 && was == Room::Full && enabled {
                    channel.note_news(Direction::Write);
                }
            }
            Step::Hang { channel } => {
                let channel = &mut self.channels[channel];
                for direction in [Direction::Read, Direction::Write] {
                    let there = match direction {
                        Direction::Read => channel.feeder.take().is_some(),
                        Direction::Write => channel.drainer.take().is_some(),
                    };
                    let enabled = channel.registrations[direction as usize].is_some_and(|it| it.enabled);
                    if there && enabled {
                        channel.note_news(direction);
                    }
                }
            }
            Step::Reopen { channel, pipe, deregister } => {
                let channel = &mut self.channels[channel];
                for direction in [Direction::Read, Direction::Write] {
                    // On Linux a registration that is disabled is nowhere but in the queue's own table: that it is to be
                    // deleted before its descriptor is closed is more than a rule.
                    if let Some(registration) = channel.registrations[direction as usize]
                        && (deregister || !registration.enabled)
                    {
                        expect(&self.queue, Change::delete(channel.source(direction)), channel.has(direction));
                    }
                }
                // Closed before others are opened, so that their numbers are given out again.
                let old = std::mem::replace(channel, Channel::open(false));
                drop(old);
                *channel = Channel::open(pipe);
            }
            Step::Wait => self.wait(),
        }
        for channel in &mut self.channels {
            for direction in [Direction::Read, Direction::Write] {
                let ready = channel.ready(direction) != Due::MustNot;
                if let Some(registration) = &mut channel.registrations[direction as usize] {
                    registration.woken |= ready;
                }
            }
        }
    }

    fn wait(&mut self) {
        self.queue.wait(&mut self.events, Some(Duration::ZERO)).unwrap();
        let mut reported: Vec<Event> = self.events.iter().collect();
        for (index, channel) in self.channels.iter_mut().enumerate() {
            for direction in [Direction::Read, Direction::Write] {
                let due = channel.due(direction);
                let filter = match direction {
                    Direction::Read => Filter::Read,
                    Direction::Write => Filter::Write,
                };
                let registration = channel.registrations[direction as usize];
                let of_this = |event: &Event| {
                    event.filter() == filter && registration.is_some_and(|it| it.token == event.token())
                };
                let times = reported.iter().filter(|event| of_this(event)).count();
                reported.retain(|event| !of_this(event));
                let fits = match due {
                    Due::Must => times == 1,
                    Due::May => times <= 1,
                    Due::MustNot => times == 0,
                };
                assert!(fits, "channel {index}, {direction:?}: {due:?}, but {times} events for {registration:?}");
                let Some(mut registration) = registration.filter(|_| times == 1) else { continue };
                let name = if direction == Direction::Read { "read" } else { "write" };
                *self.coverage.borrow_mut().entry((channel.pipe, name, registration.mode)).or_default() += 1;
                (registration.news, registration.told) = (false, true);
                channel.registrations[direction as usize] = match registration.mode {
                    Mode::OneShot | Mode::EdgeOneShot => None,
                    Mode::Dispatch | Mode::EdgeDispatch => Some(Registration { enabled: false, ..registration }),
                    Mode::Level | Mode::Edge => Some(registration),
                };
            }
        }
        assert!(reported.is_empty(), "of no registration: {reported:?}");
    }
}

fn expect(queue: &Kqueue, change: Change<'_>, existed: Option<bool>) {
    let answer = queue.apply(&[change]).all().map_err(|error| error.kind());
    if let Some(existed) = existed {
        assert_eq!(answer, if existed { Ok(()) } else { Err(ErrorKind::NotFound) }, "{change:?}");
    }
}

/// Writes as much of these bytes as there is room for.
fn write(to: &OwnedFd, bytes: usize) -> usize {
    match rustix::io::write(to, &[7; 65536][..bytes]) {
        Ok(written) => written,
        Err(Errno::AGAIN) => 0,
        Err(errno) => panic!("{errno}"),
    }
}

/// Reads what is there, but no more than this.
fn read(from: &OwnedFd, most: usize) -> usize {
    let mut buffer = [0; 65536];
    let mut total = 0;
    while total < most {
        let most = buffer.len().min(most - total);
        match rustix::io::read(from, &mut buffer[..most]) {
            Ok(0) | Err(Errno::AGAIN) => break,
            Ok(read) => total += read,
            // Linux says so once, before the bytes, if the peer closed without having read everything.
            Err(Errno::CONNRESET) => {}
            Err(errno) => panic!("{errno}"),
        }
    }
    total
}

#[test]
fn whatever_the_sequence_what_is_delivered_is_what_may_be() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(10_000);
    let coverage = RefCell::new(Coverage::new());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let sequences = prop::collection::vec(step(), 50);
    TestRunner::new(config)
        .run(&sequences, |steps| {
            let channels = (0..CHANNELS).map(|channel| Channel::open(channel % 2 == 1)).collect();
            let (queue, events) = (Kqueue::new().unwrap(), Events::with_capacity(4 * CHANNELS));
            let mut run = Run { queue, events, channels, next_token: 0, coverage: &coverage };
            for step in steps {
                run.step(step);
            }
            run.wait();
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    let coverage = coverage.into_inner();
    println!("events delivered, by kind of descriptor, filter and mode, in {cases} sequences:");
    for ((pipe, filter, mode), times) in &coverage {
        println!("{:>6} {filter:>5} {mode:?}: {times}", if *pipe { "pipe" } else { "socket" });
    }
    assert_eq!(coverage.len(), 2 * 2 * Mode::ALL.len(), "not every filter and mode was delivered: {coverage:?}");
}
