//! The simulator is tested too: with each of the original program's faults put in, a broken promise is found within a
//! bounded number of seeds, and most often it is the promise that the fault breaks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::collections::HashMap;

use parrot_simulator::{Profile, Promise, Story};
use support::{Fault, Liar};

/// Within how many seeds a fault has to be found.
const SEEDS: u64 = 200;

/// The same for the one fault that shows only when many connect at once.
const SEEDS_WITH_STORMS: u64 = 1000;

fn run(profile: Profile, seed: u64, fault: Fault) -> Option<Promise> {
    let outcome = Story::of_seed(profile, seed).run_with(false, |kernel| Liar::new(kernel, fault));
    outcome.failure.map(|failure| failure.promise)
}

fn is_found(fault: Fault, seeds: u64, expected: Promise) {
    for profile in Profile::ALL {
        let mut found: HashMap<Promise, u64> = HashMap::new();
        for promise in (0..seeds).filter_map(|seed| run(profile, seed, fault)) {
            *found.entry(promise).or_default() += 1;
        }
        println!("{fault:?}, {seeds} seeds of {profile}: {found:?}");
        let mostly = found.iter().max_by_key(|(_, count)| **count).map(|(promise, _)| *promise);
        assert_eq!(mostly, Some(expected), "{fault:?}, {seeds} seeds of {profile}: {found:?}");
    }
}

#[test]
fn a_wrapper_that_tells_the_truth_is_not_found() {
    for profile in Profile::ALL {
        for seed in 0..SEEDS {
            assert_eq!(run(profile, seed, Fault::None), None, "{profile} {seed}");
        }
    }
}

#[test]
fn a_short_write_ignored_is_found() {
    is_found(Fault::ShortWriteIgnored, SEEDS, Promise::Memory);
}

#[test]
fn closing_when_a_read_would_block_is_found() {
    is_found(Fault::ClosedWhenEmpty, SEEDS, Promise::Close);
}

#[test]
fn closing_at_the_end_of_file_flag_is_found() {
    is_found(Fault::ClosedAtFlag, SEEDS, Promise::ShutDown);
}

#[test]
fn accepting_without_limit_is_found() {
    is_found(Fault::AcceptWithoutLimit, SEEDS_WITH_STORMS, Promise::Work);
}

#[test]
fn no_back_off_without_descriptors_is_found() {
    is_found(Fault::NoBackOff, SEEDS, Promise::Busy);
}

#[test]
fn a_wish_to_write_never_taken_back_is_found() {
    is_found(Fault::WriteNeverDisarmed, SEEDS, Promise::Busy);
}

#[test]
fn events_without_generation_are_found() {
    is_found(Fault::NoGeneration, SEEDS, Promise::Work);
}
