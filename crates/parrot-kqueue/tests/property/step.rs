//! The steps of a sequence, and how they are drawn.

use parrot_kqueue::Change;
use proptest::prelude::*;

pub(crate) const CHANNELS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    Level,
    Edge,
    OneShot,
    Dispatch,
    EdgeOneShot,
    EdgeDispatch,
}

impl Mode {
    pub(crate) const ALL: [Mode; 6] =
        [Mode::Level, Mode::Edge, Mode::OneShot, Mode::Dispatch, Mode::EdgeOneShot, Mode::EdgeDispatch];

    pub(crate) fn of<'fd>(self, change: Change<'fd>) -> Change<'fd> {
        match self {
            Mode::Level => change,
            Mode::Edge => change.edge(),
            Mode::OneShot => change.one_shot(),
            Mode::Dispatch => change.dispatch(),
            Mode::EdgeOneShot => change.edge().one_shot(),
            Mode::EdgeDispatch => change.edge().dispatch(),
        }
    }

    pub(crate) fn is_one_shot(self) -> bool {
        matches!(self, Mode::OneShot | Mode::EdgeOneShot)
    }

    pub(crate) fn is_edge(self) -> bool {
        matches!(self, Mode::Edge | Mode::EdgeOneShot | Mode::EdgeDispatch)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
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
    pub(crate) fn channel(self) -> Option<usize> {
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

pub(crate) fn step() -> impl Strategy<Value = Step> {
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
