//! What the threads of a run share, and what they report to the thread that called [`run`](crate::run()).

use std::sync::{Mutex, mpsc};
use std::time::SystemTime;

use crate::clock::Clock;
use crate::pattern::Pattern;
use crate::plan::Plan;
use crate::sizes::Sizes;
use crate::tally::Live;
use crate::targets::Targets;
use crate::turns::Turns;
use crate::watch::Stop;

/// What the threads of a run share.
#[derive(Debug)]
pub(crate) struct Shared<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) targets: Targets<'a>,
    /// The turns to open a connection, if the plan has a rate for that.
    pub(crate) turns: Option<Turns>,
    pub(crate) pattern: Pattern,
    /// The live figures of each thread, empty if the plan has no interval.
    pub(crate) live: Vec<Mutex<Live>>,
    clock: Clock,
    /// When the clock started, by the system's clock.
    pub(crate) started_at: SystemTime,
    stop: Stop,
    notices: mpsc::Sender<Notice>,
}

/// What a thread reports to the thread that called [`run`](crate::run()).
#[derive(Debug)]
pub(crate) enum Notice {
    /// How many of its connections are open, and how many the server has ended already.
    Connected {
        open: usize,
        ended: u64,
    },
    /// When, in nanoseconds since the run began.
    WindowClosed(u64),
    Done,
}

impl<'a> Shared<'a> {
    /// What the threads of `plan` share, and the receiver of their notices.
    pub(crate) fn new(plan: &'a Plan, stop: &Stop) -> (Shared<'a>, mpsc::Receiver<Notice>) {
        let (notices, receiver) = mpsc::channel();
        let pattern = Pattern::new(Sizes::of(plan).most().saturating_mul(plan.pipeline));
        let turns = plan.connect_rate.map(Turns::new);
        let live = plan.interval.iter().flat_map(|_| (0..plan.threads).map(|_| Mutex::default())).collect();
        let (targets, stop) = (Targets::new(&plan.targets), stop.clone());
        let (clock, started_at) = (Clock::start(), SystemTime::now());
        (Shared { plan, targets, turns, pattern, live, clock, started_at, stop, notices }, receiver)
    }

    /// Nanoseconds since the run began.
    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.stopped()
    }

    pub(crate) fn notify(&self, notice: Notice) {
        // Sending fails only if the receiver is gone, and then the run has already failed.
        let _ = self.notices.send(notice);
    }
}
