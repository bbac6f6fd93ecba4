//! Runs one story from its start to its end.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parrot_server::simulation::{EventLoop, Opened, Shared};

use crate::changes::Handles;
use crate::check::{Failure, Promise};
use crate::coverage::Coverage;
use crate::current::CurrentStory;
use crate::host::{PlantedFault, SimulatedHost};
use crate::listeners::Listener;
use crate::memory::Memory;
use crate::story::Story;

/// A run with more turns than this has no end. The turns of a drain with a timeout do not count, because the clock ends
/// it.
const MOST_TURNS: u64 = 1_000_000;

/// The result of a run.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The promise that was broken, if one was.
    pub failure: Option<Failure>,
    /// How often each point was met.
    pub coverage: Coverage,
    /// The number of peers that took part.
    pub peers: u64,
    /// The number of bytes received.
    pub bytes: u64,
    /// The number of turns.
    pub turns: u64,
    /// The lines of the trace, if it was requested.
    pub trace: Vec<String>,
}

impl Story {
    /// Runs the loop on the simulated host.
    pub fn run(&self, trace: bool) -> Outcome {
        self.run_with(trace, None)
    }

    /// Runs the loop with a planted fault, which should break a promise.
    pub fn run_with(&self, trace: bool, planted: Option<PlantedFault>) -> Outcome {
        let _current = CurrentStory::begin(self);
        let (plan, dice) = self.plan();
        Memory::begin(&dice, &plan.rates, plan.limits.max_output);
        let shared = Arc::new(Shared::default());
        let settings = plan.settings();
        let at_first = plan.ports.iter().enumerate().filter(|(_, port)| !port.later);
        let listeners = at_first.map(|(index, port)| Listener::open(index, *port)).collect();
        let peers = plan.kept_peers().len() as u64;
        let host = SimulatedHost::new(plan, dice, Arc::clone(&shared), trace, planted);
        let opened = Opened { listeners, datagrams: host.udp.opened() };
        let hangups = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&hangups);
        let mut event_loop = match EventLoop::new(host, opened, settings, shared) {
            Ok(event_loop) => event_loop,
            Err(error) => {
                let seen = format!("the loop did not start: {error}");
                let failure = Some(Failure { promise: Promise::Ended, seen, turn: 0 });
                return Outcome { failure, ..Outcome::default() };
            }
        };
        let changes = event_loop.changes();
        event_loop.host().handles = Handles::of(changes);
        event_loop.set_on_hangup(Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        play(&mut event_loop);
        let host = event_loop.host();
        if host.hangups != hangups.load(Ordering::Relaxed) {
            host.broken(Promise::Ended, || "a hangup did not reach its handler".to_owned());
        }
        Outcome {
            failure: host.failure.take(),
            coverage: host.coverage.clone(),
            peers,
            bytes: host.tally.bytes_in,
            turns: host.tally.turns,
            trace: host.trace.take().unwrap_or_default(),
        }
    }
}

/// Turns the loop until it ends or breaks a promise.
fn play(event_loop: &mut EventLoop<SimulatedHost>) {
    let mut turns = 0;
    loop {
        let turn = event_loop.turn();
        let seen = event_loop.snapshot();
        let host = event_loop.host();
        match turn {
            Ok(ControlFlow::Continue(())) => {
                host.check_turn(seen);
                host.check_goes_on();
            }
            Ok(ControlFlow::Break(ended)) => {
                if host.killed.is_none() {
                    host.check_turn(seen);
                }
                return host.check_ended(ended);
            }
            Err(error) => host.broken(Promise::Ended, || format!("the loop failed: {error}")),
        }
        turns += u64::from(!host.ends_by_the_clock());
        if turns > MOST_TURNS {
            host.broken(Promise::Endless, || format!("the run goes on after {MOST_TURNS} turns"));
        }
        if host.failure.is_some() {
            return;
        }
    }
}
