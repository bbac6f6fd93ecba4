//! A run of steps. Each is done to the system and to the model, and each wait compares the two.

use crate::{
    channel::{Channel, Due, Registration, Room, read, write},
    step::{Action, Direction, Mode, Step},
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
        match step {
            Step::Wait => self.wait(),
            Step::Channel(channel, action) => self.act(channel, action),
        }
        for channel in &mut self.channels {
            for direction in Direction::BOTH {
                let ready = channel.ready(direction) != Due::MustNot;
                if let Some(registration) = channel.registration(direction) {
                    registration.woken |= ready;
                }
            }
        }
    }

    fn act(&mut self, channel: usize, action: Action) {
        let (queue, channel) = (&self.queue, &mut self.channels[channel]);
        for registration in channel.registrations.iter_mut().flatten() {
            registration.told = false;
        }
        match action {
            Action::Add(direction, mode) | Action::AddDisabled(direction, mode) => {
                self.next_token += 1;
                let token = Token(self.next_token);
                let enabled = matches!(action, Action::Add(..));
                let change = match direction {
                    Direction::Read => Change::add_read(channel.watched(direction), token),
                    Direction::Write => Change::add_write(channel.watched(direction), token),
                };
                let change = if enabled { mode.of(change) } else { mode.of(change).disabled() };
                let added = queue.apply(&[change]).all();
                let registration = Registration { token, mode, enabled, news: true, told: false, woken: false };
                channel.registrations[direction as usize] = match added.map_err(|error| error.kind()) {
                    Ok(()) => Some(registration),
                    // A pipe without a reader may be refused.
                    Err(ErrorKind::BrokenPipe) if direction == Direction::Write && channel.is_broken_pipe() => None,
                    Err(kind) => panic!("{kind:?}: {change:?}"),
                };
            }
            Action::Delete(direction) => {
                expect(queue, Change::delete(channel.source(direction)), channel.has(direction));
                channel.registrations[direction as usize] = None;
            }
            Action::Enable(direction) => {
                expect(queue, Change::enable(channel.source(direction)), channel.has(direction));
                if let Some(registration) = channel.registration(direction) {
                    // Every system looks again at what is enabled, whatever it has reported before.
                    registration.news |= !registration.enabled;
                    registration.enabled = true;
                }
            }
            Action::Disable(direction) => {
                expect(queue, Change::disable(channel.source(direction)), channel.has(direction));
                if let Some(registration) = channel.registration(direction) {
                    registration.enabled = false;
                }
            }
            Action::Send(bytes) => {
                let Some(feeder) = &channel.feeder else { return };
                let sent = write(feeder, bytes);
                channel.pending += sent;
                if sent > 0 {
                    channel.note_news(Direction::Read);
                }
            }
            Action::Receive(most) => channel.pending -= read(&channel.reader, most),
            Action::Put(bytes) => {
                // FreeBSD enlarges a pipe when it is written to, so that there may be room again after it was full
                // (pipe_write in sys/kern/sys_pipe.c).
                if channel.drainer.is_some() && write(&channel.writer, bytes) > 0 {
                    channel.room = Room::Partly;
                }
            }
            Action::Fill => {
                if channel.drainer.is_some() {
                    while write(&channel.writer, 65536) > 0 {}
                    channel.room = Room::Full;
                }
            }
            Action::Drain => {
                let Some(drainer) = &channel.drainer else { return };
                let was = std::mem::replace(&mut channel.room, Room::Empty);
                if read(drainer, usize::MAX) > 0 && was == Room::Full {
                    channel.note_news(Direction::Write);
                }
            }
            Action::Hang => {
                if channel.feeder.take().is_some() {
                    channel.note_news(Direction::Read);
                }
                if channel.drainer.take().is_some() {
                    channel.note_news(Direction::Write);
                }
            }
            Action::Reopen { pipe, deregister } => {
                for direction in Direction::BOTH {
                    // On Linux a disabled registration is only in the queue's own table, so it must be deleted before
                    // its descriptor is closed.
                    if let Some(registration) = channel.registration(direction)
                        && (deregister || !registration.enabled)
                    {
                        expect(queue, Change::delete(channel.source(direction)), channel.has(direction));
                    }
                }
                // The old descriptors are closed before others are opened, so that their numbers are reused.
                let old = std::mem::replace(channel, Channel::open(false));
                drop(old);
                *channel = Channel::open(pipe);
            }
        }
    }

    pub(crate) fn wait(&mut self) {
        self.queue.wait(&mut self.events, Some(Duration::ZERO)).unwrap();
        let mut reported: Vec<Event> = self.events.iter().collect();
        for (index, channel) in self.channels.iter_mut().enumerate() {
            for direction in Direction::BOTH {
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
        assert!(reported.is_empty(), "events of no registration: {reported:?}");
    }
}

fn expect(queue: &Kqueue, change: Change<'_>, existed: Option<bool>) {
    let result = queue.apply(&[change]).all().map_err(|error| error.kind());
    if let Some(existed) = existed {
        assert_eq!(result, if existed { Ok(()) } else { Err(ErrorKind::NotFound) }, "{change:?}");
    }
}
