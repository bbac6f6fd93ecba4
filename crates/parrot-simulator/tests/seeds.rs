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
fn each_peer_alone_begins_as_it_does_among_the_others() {
    let first_write = |trace: &[String], peer: usize| -> Option<String> {
        let mut writes = trace.iter().filter_map(|line| line.split_once(&format!(" peer {peer} writes ")));
        writes.next().map(|(_, what)| what.to_owned())
    };
    let mut compared = 0;
    for seed in 0..50 {
        // Without faults that peers share, a peer's first write comes from its own dice. Later ones depend on the room
        // that the server has made by then, and on whether the peer has read in between.
        let story = |peers| Story { peers, faults: Some(Vec::new()), ..Story::of_seed(Profile::Epoll, seed) };
        let all = story(None).run(true);
        for peer in 0..all.peers.min(8) as usize {
            let alone = story(Some(vec![peer])).run(true);
            let both = first_write(&all.trace, peer).zip(first_write(&alone.trace, peer));
            if let Some((among_others, alone)) = both {
                assert_eq!(among_others, alone, "seed {seed}, peer {peer}");
                compared += 1;
            }
        }
    }
    assert!(compared > 100, "only {compared} peers write in both stories");
}
