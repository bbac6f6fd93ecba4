//! One run: a story from its seed to its end.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parrot_server::system::{EventLoop, Shared, System};

use crate::calls::{Listener, Queue, Socket};
use crate::check::{Failure, Promise};
use crate::coverage::{Coverage, Point};
use crate::dice::Dice;
use crate::judge::Seen;
use crate::kernel::Kernel;
use crate::plan::Plan;
use crate::profile::Profile;
use crate::telling::Telling;

/// So many turns are no end, but for those of a drain with a time-out: its end comes by the clock, however many connections
/// ask to be looked at until then.
const MOST_TURNS: u64 = 500_000;

/// A system with a simulated kernel in it: the kernel itself, or a wrapper that lies to the loop.
pub trait Simulated: System<Listener = Listener, Socket = Socket, Queue = Queue> {
    /// The kernel in it.
    fn kernel(&mut self) -> &mut Kernel;
}

impl Simulated for Kernel {
    fn kernel(&mut self) -> &mut Kernel {
        self
    }
}

/// What is run.
#[derive(Debug, Clone)]
pub struct Story {
    /// The family of systems.
    pub profile: Profile,
    /// Where its decisions come from.
    pub source: Source,
    /// The faults that may happen, if the plan has them; `None`: all of the plan's.
    pub faults: Option<Vec<Point>>,
    /// The peers that take part; `None`: all.
    pub peers: Option<Vec<usize>>,
    /// The most bytes that a peer sends, if that is less than its script says.
    pub most_bytes: Option<u64>,
}

/// Where a story's decisions come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// The seed's number.
    Seed(u64),
    /// A fuzzer's input.
    Bytes(Vec<u8>),
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The promise that was broken, if one was.
    pub failure: Option<Failure>,
    /// What was met.
    pub coverage: Coverage,
    /// How many peers took part.
    pub peers: u64,
    /// How many bytes were received; all that were owed were sent, too.
    pub bytes: u64,
    /// How many turns it took.
    pub turns: u64,
    /// What happened, line by line, if that was wanted.
    pub trace: Vec<String>,
}

impl Story {
    /// The story of a seed, all of it.
    pub fn of_seed(profile: Profile, seed: u64) -> Story {
        Story { profile, source: Source::Seed(seed), faults: None, peers: None, most_bytes: None }
    }

    /// The story of a fuzzer's input: its first byte chooses the family of systems.
    pub fn of_bytes(bytes: &[u8]) -> Story {
        let (first, rest) = bytes.split_first().map_or((0, bytes), |(first, rest)| (*first, rest));
        let profile = if first.is_multiple_of(2) { Profile::Kqueue } else { Profile::Epoll };
        Story { profile, source: Source::Bytes(rest.to_vec()), faults: None, peers: None, most_bytes: None }
    }

    /// The plan, and the dice for what is decided on the way.
    pub(crate) fn plan(&self) -> (Plan, Dice) {
        let dice = match &self.source {
            Source::Seed(seed) => Dice::seeded(*seed),
            Source::Bytes(bytes) => Dice::bytes(bytes),
        };
        let mut plan = Plan::draw(self.profile, &dice);
        if let Some(faults) = &self.faults {
            plan.keep_faults(faults);
        }
        if let Some(peers) = &self.peers {
            plan.keep_peers(peers);
        }
        if let Some(most) = self.most_bytes {
            plan.limit_bytes(most);
        }
        (plan, dice)
    }

    /// What the story is about, in a few lines: the server's configuration and the faults that may happen.
    pub fn described(&self) -> String {
        let (plan, _) = self.plan();
        let faults: Vec<&str> = plan.faults().into_iter().map(Point::name).collect();
        let (config, ending) = (&plan.config, &plan.ending);
        let (listeners, backlog) = (plan.listeners, plan.backlog);
        let descriptors = match plan.descriptors {
            usize::MAX => "descriptors without limit".to_owned(),
            limit => format!("{limit} descriptors for connections"),
        };
        format!(
            "{config:?}\n{listeners} listeners, backlog {backlog}, {descriptors}\n{ending:?} (in nanoseconds)\nfaults: {}",
            faults.join(", ")
        )
    }

    /// Runs the loop on the simulated kernel.
    pub fn run(&self, trace: bool) -> Outcome {
        self.run_with(trace, |kernel| kernel)
    }

    /// Runs the loop on what `wrap` makes of the kernel.
    pub fn run_with<S: Simulated>(&self, trace: bool, wrap: impl FnOnce(Kernel) -> S) -> Outcome {
        let _told = Telling::begin(self);
        let (plan, dice) = self.plan();
        let shared = Arc::new(Shared::default());
        let config = plan.config.clone();
        let listeners = (0..plan.listeners).map(|port| Listener { port }).collect();
        let peers = plan.kept_peers().len() as u64;
        let kernel = Kernel::new(plan, dice, Arc::clone(&shared), trace);
        let hangups = Arc::new(AtomicU64::new(0));
        let on_hangup = Box::new({
            let hangups = Arc::clone(&hangups);
            move || {
                hangups.fetch_add(1, Ordering::Relaxed);
            }
        });
        let event_loop = EventLoop::new(wrap(kernel), Queue, listeners, config, shared);
        let mut event_loop = match event_loop {
            Ok(event_loop) => event_loop,
            Err(error) => return Outcome::unstarted(&error),
        };
        event_loop.set_on_hangup(on_hangup);
        play(&mut event_loop);
        let kernel = event_loop.system().kernel();
        if kernel.hangups != hangups.load(Ordering::Relaxed) {
            kernel.broken(Promise::Ended, || "a hangup was not passed on".to_owned());
        }
        Outcome {
            failure: kernel.failure.take(),
            coverage: kernel.coverage.clone(),
            peers,
            bytes: kernel.tally.bytes_in,
            turns: kernel.tally.turns,
            trace: kernel.trace.take().unwrap_or_default(),
        }
    }
}

/// Turns until the end, or until a promise is broken.
fn play<S: Simulated>(event_loop: &mut EventLoop<S>) {
    let mut turns = 0;
    loop {
        let turn = event_loop.turn();
        let (lent, capacity) = event_loop.buffers();
        let seen = Seen { connections: event_loop.connections(), lent, capacity, lists: event_loop.list_lengths() };
        let kernel = event_loop.system().kernel();
        match turn {
            Ok(ControlFlow::Continue(())) => {
                kernel.check_turn(seen);
                kernel.check_goes_on();
            }
            Ok(ControlFlow::Break(ended)) => {
                if kernel.killed.is_none() {
                    kernel.check_turn(seen);
                }
                return kernel.check_ended(ended);
            }
            Err(error) => kernel.broken(Promise::Ended, || format!("the loop gives up: {error}")),
        }
        turns += u64::from(!kernel.ends_by_the_clock());
        if turns > MOST_TURNS {
            kernel.broken(Promise::Endless, || format!("no end after {MOST_TURNS} turns"));
        }
        if kernel.failure.is_some() {
            return;
        }
    }
}

impl Outcome {
    fn unstarted(error: &std::io::Error) -> Outcome {
        let seen = format!("the loop does not start: {error}");
        Outcome {
            failure: Some(Failure { promise: Promise::Ended, seen, turn: 0 }),
            coverage: Coverage::default(),
            peers: 0,
            bytes: 0,
            turns: 0,
            trace: Vec::new(),
        }
    }
}
