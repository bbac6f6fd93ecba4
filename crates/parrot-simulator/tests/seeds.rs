//! A few thousand stories, all of them kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use parrot_simulator::{Coverage, Point, Profile, Story};

/// The first so many meet every point of the table.
const SEEDS: u64 = 2500;

fn every_promise_holds(profile: Profile) {
    parrot_simulator::name_stories_that_panic();
    let mut coverage = Coverage::default();
    let mut sizes: [Vec<u64>; 3] = Default::default();
    for seed in 0..SEEDS {
        let story = Story::of_seed(profile, seed);
        let outcome = story.run(false);
        if let Some(failure) = outcome.failure {
            let least = story.shrink(failure.promise, |story| story.run(false).failure.map(|failure| failure.promise));
            let shrunk = least.run(false).failure.unwrap_or(failure.clone());
            panic!("{failure}\n  {}\nat its least: {shrunk}\n  {}", story.replay(), least.replay());
        }
        coverage.add(&outcome.coverage);
        for (sizes, size) in sizes.iter_mut().zip([outcome.peers, outcome.bytes, outcome.turns]) {
            sizes.push(size);
        }
    }
    // A story worth running: in the median at least so many peers, bytes and turns.
    for (sizes, least) in sizes.iter_mut().zip([4, 64 * 1024, 200]) {
        let (_, median, _) = sizes.select_nth_unstable(SEEDS as usize / 2);
        assert!(*median >= least, "{median} in the median, where {least} are the least");
    }
    let missing: Vec<&str> = coverage.missing(profile).into_iter().map(Point::name).collect();
    assert!(missing.is_empty(), "never met, and so not tested: {missing:?}");
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
fn only_the_faults_that_are_kept_happen() {
    let kept = vec![Point::ReceiveInterrupted, Point::SendShort];
    for seed in 0..50 {
        let story = Story { faults: Some(kept.clone()), ..Story::of_seed(Profile::Epoll, seed) };
        let coverage = story.run(false).coverage;
        let others = Point::FAULTS.iter().filter(|fault| !kept.contains(fault));
        assert_eq!(others.map(|fault| coverage.of(*fault)).sum::<u64>(), 0, "seed {seed}");
    }
}

#[test]
fn a_peer_that_is_left_out_does_not_change_what_the_others_send() {
    let sent = |trace: &[String], peer: usize| -> Vec<String> {
        let writes = trace.iter().filter_map(|line| line.split_once(&format!(" peer {peer} writes ")));
        writes.map(|(_, what)| what.to_owned()).collect()
    };
    // Without faults and limits that peers share, each peer's writes come from its own dice.
    let story = |peers| Story { peers, faults: Some(Vec::new()), ..Story::of_seed(Profile::Epoll, 3) };
    let (all, alone) = (story(None).run(true), story(Some(vec![0])).run(true));
    let (together, alone) = (sent(&all.trace, 0), sent(&alone.trace, 0));
    assert!(!together.is_empty());
    assert_eq!(together.first(), alone.first());
}
