//! What handles change while the loop runs: its limits, and listeners that come and go.

use std::sync::{PoisonError, Weak};
use std::time::Duration;

use parrot_server::Limits;
use parrot_server::simulation::{Change, Changes, Opened, Settings};

use crate::coverage::Point;
use crate::datagrams::DatagramSocket;
use crate::dice::Dice;
use crate::doors::PortPlan;
use crate::host::{SimulatedHost, note};
use crate::listeners::{Listener, server_address};
use crate::plan::Plan;
use crate::time::{MICROSECOND, MILLISECOND, SECOND};

/// A change of the plan.
#[derive(Debug, Clone)]
pub(crate) enum ChangePlan {
    /// These limits hold from then on. Buffers keep their size.
    Limits(Limits),
    /// This listener is opened.
    Open(usize),
    /// This one is closed.
    Close(usize),
}

/// What handles have asked for.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    /// What the loop takes them from.
    list: Weak<Changes<Listener, DatagramSocket>>,
    /// Those that the loop has not made yet.
    pending: Vec<ChangePlan>,
    /// Whether the loop makes changes because it was woken. It looks afterwards whether it is to drain.
    pub(crate) changing: bool,
}

impl Handles {
    pub(crate) fn of(list: Weak<Changes<Listener, DatagramSocket>>) -> Handles {
        Handles { list, ..Handles::default() }
    }
}

impl Plan {
    /// Draws what changes in the run. In five stories of six it is nothing.
    pub(crate) fn draw_changes(&mut self, dice: &mut Dice) {
        if !dice.chance(43) {
            return;
        }
        for _ in 0..dice.between((1, 4)) {
            let (at, change) = match dice.below(4) {
                0 | 1 => (dice.below(5 * MILLISECOND), ChangePlan::Limits(self.draw_limits(dice))),
                2 => {
                    self.ports.push(PortPlan { later: true, ..PortPlan::default() });
                    (dice.below(MILLISECOND), ChangePlan::Open(self.ports.len() - 1))
                }
                _ => (dice.below(5 * MILLISECOND), ChangePlan::Close(dice.below(self.ports.len() as u64) as usize)),
            };
            self.changes.push((at, change));
        }
    }

    fn draw_limits(&self, dice: &mut Dice) -> Limits {
        let (count, max_output) = (self.peers.len() as u64, self.limits.max_output);
        let idle = [200 * MICROSECOND, MILLISECOND, 30 * MILLISECOND, 60 * SECOND];
        let drain = [5 * SECOND, 5 * SECOND, 20 * MILLISECOND, MILLISECOND, 0];
        Limits {
            max_connections: dice.chance(64).then(|| dice.between((1, count)) as usize),
            max_buffered: dice.pick([0, max_output, 3 * max_output, 256 * 1024 * 1024]),
            idle_timeout: dice.chance(128).then(|| Duration::from_nanos(dice.pick(idle))),
            drain_delay: Plan::draw_delay(dice),
            drain_timeout: Duration::from_nanos(dice.pick(drain)),
            ..self.limits.clone()
        }
    }
}

impl SimulatedHost {
    /// Does what a handle does for a change of the plan, which the loop makes when it is woken.
    pub(crate) fn ask_for_change(&mut self, which: usize) {
        let (_, change) = self.plan.changes[which].clone();
        let asked = match &change {
            ChangePlan::Limits(limits) => {
                Change::Settings(Box::new(Settings { limits: limits.clone(), ..self.plan.settings() }))
            }
            // A handle listens no more in the drain.
            ChangePlan::Open(_) if self.drain_deadline.is_some() => return,
            ChangePlan::Open(index) => {
                let port = &mut self.ports[*index];
                port.closed = false;
                Change::Listen(Opened { listeners: vec![Listener::open(*index, port.plan)], datagrams: Vec::new() })
            }
            ChangePlan::Close(index) => Change::Close(vec![server_address(*index).to_string().into()]),
        };
        note!(self, "a handle asks for a change: {change:?}");
        if let Some(list) = self.handles.list.upgrade() {
            list.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        }
        self.handles.pending.push(change);
        self.pending_wake = true;
    }

    /// Follows the changes that the loop makes now.
    pub(crate) fn follow_changes(&mut self) {
        for change in std::mem::take(&mut self.handles.pending) {
            match change {
                ChangePlan::Limits(limits) => self.change_limits(limits),
                ChangePlan::Open(index) => self.add_port(index),
                ChangePlan::Close(index) => self.remove_port(index),
            }
        }
    }

    fn change_limits(&mut self, limits: Limits) {
        self.coverage.count(Point::LimitsChanged);
        let before = &self.plan.limits;
        let limits = Limits { max_output: before.max_output, ..limits };
        if limits.idle_timeout != before.idle_timeout {
            // The loop has not noted which turns were long for this timeout, so a byte may count from their beginning.
            for index in &self.open {
                let connection = &mut self.connections[*index];
                connection.active = connection.active.min(connection.active_from);
            }
        }
        // What is lent already stays lent.
        self.lent_before = self.most_lent();
        self.capacity = limits.max_buffered.max(limits.max_output);
        self.plan.limits = limits;
    }
}
