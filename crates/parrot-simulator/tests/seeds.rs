//! Runs a few thousand stories of each profile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use parrot_simulator::{Coverage, Point, Profile, Story};

/// The first seeds of a profile, which meet every point of the table.
const SEEDS: u64 = 2500;

fn check_promises(profile: Profile) {
    parrot_simulator::name_stories_that_panic();
    let mut coverage = Coverage::default();
    let mut sizes: [Vec<u64>; 3] = Default::default();
    for seed in 0..SEEDS {
        let story = Story::of_seed(profile, seed);
        let outcome = story.run(false);
        if let Some(failure) = outcome.failure {
            let least = story.shrink(failure.promise, |story| story.run(false).failure.map(|failure| failure.promise));
            let shrunk = least.run(false).failure.unwrap_or(failure.clone());
            panic!("{failure}\n  {}\nshrunk: {shrunk}\n  {}", story.replay(), least.replay());
        }
        coverage.add(&outcome.coverage);
        for (sizes, size) in sizes.iter_mut().zip([outcome.peers, outcome.bytes, outcome.turns]) {
            sizes.push(size);
        }
    }
    // The median story has at least 4 peers, 64 KiB and 200 turns.
    for (sizes, least) in sizes.iter_mut().zip([4, 64 * 1024, 200]) {
        let (_, median, _) = sizes.select_nth_unstable(SEEDS as usize / 2);
        assert!(*median >= least, "the median is {median}, below {least}");
    }
    let missing: Vec<&str> = coverage.missing(profile).into_iter().map(Point::name).collect();
    assert!(missing.is_empty(), "never met, and so not tested: {missing:?}");
}

#[test]
fn loop_keeps_its_promises_on_kqueue() {
    check_promises(Profile::Kqueue);
}

#[test]
fn loop_keeps_its_promises_on_epoll() {
    check_promises(Profile::Epoll);
}

#[test]
fn seed_gives_the_same_trace_every_time() {
    for seed in 0..50 {
        let story = Story::of_seed(Profile::Kqueue, seed);
        assert_eq!(story.run(true).trace, story.run(true).trace, "seed {seed}");
    }
}

#[test]
fn only_kept_faults_happen() {
    let kept = vec![Point::ReceiveInterrupted, Point::SendShort];
    for seed in 0..50 {
        let story = Story { faults: Some(kept.clone()), ..Story::of_seed(Profile::Epoll, seed) };
        let coverage = story.run(false).coverage;
        let others = Point::FAULTS.iter().filter(|fault| !kept.contains(fault));
        assert_eq!(others.map(|fault| coverage.of(*fault)).sum::<u64>(), 0, "seed {seed}");
    }
}

#[test]
fn each_peer_starts_alone_as_it_does_among_others() {
    let first_write = |trace: &[String], peer: usize| -> Option<String> {
        let mut acts = trace.iter().filter_map(|line| line.split_once(&format!(" peer {peer} ")));
        let (_, first) = acts.find(|(_, act)| act.starts_with("writes ") || act.starts_with("reads "))?;
        first.strip_prefix("writes ").map(str::to_owned)
    };
    let mut compared = 0;
    for seed in 0..50 {
        // Without faults, the first write of a peer depends only on its own dice. Later ones, and those after a greeting,
        // depend on the room in the server's socket and on what the peer has read by then.
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
