//! Random sequences of changes, writes, reads and closes against a model of what may be delivered.
//!
//! For each registration, the model knows whether the next wait must, may or must not report it. It asks for no more
//! than the contract. An edge-triggered registration must be reported for what is new, and may be for what is there.
//! Between empty and full, a system may draw the line of "room to write" where it likes.
//!
//! There are 10,000 sequences of 50 steps. `PROPTEST_CASES` sets another number.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod channel;
mod run;
mod step;

use channel::Channel;
use parrot_kqueue::{Events, Kqueue};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use run::{Coverage, Run};
use std::cell::RefCell;
use step::{CHANNELS, Mode, step};

#[test]
fn every_sequence_delivers_what_the_model_allows() {
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
    println!("events delivered in {cases} sequences, by kind of descriptor, filter and mode:");
    for ((pipe, filter, mode), times) in &coverage {
        println!("{:>6} {filter:>5} {mode:?}: {times}", if *pipe { "pipe" } else { "socket" });
    }
    assert_eq!(coverage.len(), 2 * 2 * Mode::ALL.len(), "not every filter and mode was delivered: {coverage:?}");
}
