//! A run of steps: each is made in the system and in the model, and each wait compares the two.

use crate::{
    channel::{Channel, Due, Registration, Room, read, write},
    step::{Direction, Mode, Step},
};
use parrot_kqueue::{Change, Event, Events, Filter, Kqueue, Token};
use std::{cell::RefCell, collections::BTreeMap, io::ErrorKind, time::Duration};

/// How often each filter and mode was delivered, over all sequences.
pub(crate) type Coverage = BTreeMap<(bool, &'static str, Mode), usize>;

pub(crate) struct Run<'a> {
    pub(crate) queue: Kqueue,
    pub(crate) events: Events,
    pub(crate) channels: Vec<Channel>,
    pub(crate) next_token: usize,
    pub(crate) coverage: &'a RefCell<Coverage>,
}

impl Run<'_> {
    pub(crate) fn step(&mut self, step: Step) {
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
                    // Every system looks again at what is enabled, whatever was told of it before (see the suite).
                    registration.news |= !registration.enabled;
                    registration.enabled = true;
                }
            }
            Step::Disable { channel, direction } => {
                let channel = &mut self.channels[channel];
                let existed = channel.has(direction);
                expect(&self.queue, Change::disable(channel.source(direction)), existed);
                if let Some(registration) = &mut channel.registrations[direction as usize] {
                    registration.enabled = false;
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
                // FreeBSD enlarges a pipe when it is written to, so that there may be room again after it was full
                // (pipe_write in sys/kern/sys_pipe.c).
                if channel.drainer.is_some() && write(&channel.writer, bytes) > 0 {
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
                    // On Linux a disabled registration is nowhere but in the queue's own table: that it is to be deleted
                    // before its descriptor is closed is more than a rule.
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

    pub(crate) fn wait(&mut self) {
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

pub(crate) fn expect(queue: &Kqueue, change: Change<'_>, existed: Option<bool>) {
    let answer = queue.apply(&[change]).all().map_err(|error| error.kind());
    if let Some(existed) = existed {
        assert_eq!(answer, if existed { Ok(()) } else { Err(ErrorKind::NotFound) }, "{change:?}");
    }
}
