//! A few thousand stories, all of them kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use parrot_simulator::{Point, Profile, Story};

const SEEDS: u64 = 2000;

fn every_promise_holds(profile: Profile) {
    for seed in 0..SEEDS {
        let story = Story::of_seed(profile, seed);
        if let Some(failure) = story.run(false).failure {
            let least = story.shrink(failure.promise, |story| story.run(false).failure.map(|failure| failure.promise));
            panic!("{failure}\nreplay with: {}", least.replay());
        }
    }
}

#[test]
fn the_loop_keeps_its_promises_on_kqueue() {
    every_promise_holds(Profile::Kqueue);
}

#[test]
fn the_loop_keeps_its_promises_on_epoll() {
    every_promise_holds(Profile::Epoll);
}

#[test]
fn a_seed_tells_the_same_story_every_time() {
    for seed in 0..50 {
        let story = Story::of_seed(Profile::Kqueue, seed);
        assert_eq!(story.run(true).trace, story.run(true).trace, "seed {seed}");
    }
}

#[test]
fn a_fault_left_out_does_not_happen() {
    for seed in 0..50 {
        let without = vec![Point::ReceiveInterrupted, Point::SendShort];
        let story = Story { without: without.clone(), ..Story::of_seed(Profile::Epoll, seed) };
        let coverage = story.run(false).coverage;
        assert!(without.into_iter().all(|fault| coverage.of(fault) == 0), "seed {seed}");
    }
}
