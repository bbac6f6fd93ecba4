//! Tests the simulator itself. With a planted fault it finds a broken promise within a few seeds, and most often the
//! promise that the fault breaks. `cargo xtask mutants` plants every known fault in the source of the loop.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::HashMap;

use parrot_simulator::{PlantedFault, Profile, Promise, Story};

/// The number of seeds that find a fault.
const SEEDS: u64 = 200;

fn is_found(fault: PlantedFault, expected: Promise) {
    for profile in Profile::ALL {
        let mut found: HashMap<Promise, u64> = HashMap::new();
        for seed in 0..SEEDS {
            let outcome = Story::of_seed(profile, seed).run_with(false, Some(fault));
            if let Some(failure) = outcome.failure {
                *found.entry(failure.promise).or_default() += 1;
            }
        }
        println!("{fault:?}, {SEEDS} seeds of {profile}: {found:?}");
        let mostly = found.iter().max_by_key(|(_, count)| **count).map(|(promise, _)| *promise);
        assert_eq!(mostly, Some(expected), "{fault:?}, {SEEDS} seeds of {profile}: {found:?}");
    }
}

#[test]
fn ignored_short_send_is_found() {
    is_found(PlantedFault::IgnoresShortSends, Promise::Memory);
}

#[test]
fn closing_when_a_receive_would_block_is_found() {
    is_found(PlantedFault::ClosesWhenEmpty, Promise::Close);
}

#[test]
fn write_interest_that_stays_is_found() {
    is_found(PlantedFault::KeepsWriteInterest, Promise::Busy);
}
