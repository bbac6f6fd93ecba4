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

impl Direction {
    pub(crate) const BOTH: [Direction; 2] = [Direction::Read, Direction::Write];
}

/// A step of a sequence. All but a wait are done to one channel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Wait,
    Channel(usize, Action),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Add(Direction, Mode),
    AddDisabled(Direction, Mode),
    Delete(Direction),
    Enable(Direction),
    Disable(Direction),
    /// The other side sends this many bytes to the watched reader.
    Send(usize),
    /// The watched reader reads at most this many bytes.
    Receive(usize),
    /// The watched writer writes this many bytes.
    Put(usize),
    /// The watched writer writes until there is no more room.
    Fill,
    /// The other side reads everything that was written.
    Drain,
    /// The other side closes.
    Hang,
    /// The watched descriptors are closed and others opened in their place. Their registrations are deleted first or
    /// left to the system.
    Reopen {
        pipe: bool,
        deregister: bool,
    },
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let direction = prop_oneof![Just(Direction::Read), Just(Direction::Write)];
    let mode = prop::sample::select(Mode::ALL.to_vec());
    let add = (direction.clone(), mode, prop::bool::weighted(0.15));
    let action = prop_oneof![
        6 => add.prop_map(|(direction, mode, disabled)| {
            if disabled { Action::AddDisabled(direction, mode) } else { Action::Add(direction, mode) }
        }),
        1 => direction.clone().prop_map(Action::Delete),
        2 => direction.clone().prop_map(Action::Enable),
        1 => direction.prop_map(Action::Disable),
        4 => (1..3000usize).prop_map(Action::Send),
        3 => prop::sample::select(vec![100, usize::MAX]).prop_map(Action::Receive),
        1 => (1..3000usize).prop_map(Action::Put),
        1 => Just(Action::Fill),
        1 => Just(Action::Drain),
        1 => Just(Action::Hang),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(pipe, deregister)| Action::Reopen { pipe, deregister }),
    ];
    prop_oneof![
        22 => (0..CHANNELS, action).prop_map(|(channel, action)| Step::Channel(channel, action)),
        8 => Just(Step::Wait),
    ]
}
