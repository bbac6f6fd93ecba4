//! `cargo xtask simulate`: as many stories as one likes, on all cores, or one of them again with its trace.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Parser;
use parrot_simulator::{Coverage, Outcome, Point, Profile, Source, Story};

/// Below this many seeds a point of the table may be met by none of them.
const SEEDS_FOR_COVERAGE: u64 = 20_000;
/// From so many stories the medians are taken.
const SAMPLE: u64 = 10_000;
/// How often a line of progress is printed where it cannot be drawn over the last one.
const LINE_INTERVAL: Duration = Duration::from_secs(30);

/// Run Parrot's loop under a simulated kernel.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask simulate")]
struct Arguments {
    /// How many seeds to run, of each profile.
    #[arg(long, default_value_t = 100_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// The family of systems: kqueue or epoll [default: both]
    #[arg(long)]
    profile: Option<Profile>,
    /// How many threads to run on [default: one for each core]
    #[arg(long)]
    threads: Option<usize>,
    /// Run this seed alone and print what happens.
    #[arg(long, value_name = "SEED")]
    replay: Option<u64>,
    /// With --replay: only these peers take part.
    #[arg(long, value_delimiter = ',', requires = "replay")]
    peers: Option<Vec<usize>>,
    /// With --replay: these faults do not happen.
    #[arg(long, value_delimiter = ',', requires = "replay", value_parser = fault)]
    without: Vec<Point>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let profiles = arguments.profile.map_or(Profile::ALL.to_vec(), |profile| vec![profile]);
    let result = match arguments.replay {
        Some(seed) => replay(seed, &profiles, &arguments),
        None => profiles.iter().try_for_each(|profile| run(*profile, &arguments)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn fault(name: &str) -> Result<Point, String> {
    let found = Point::FAULTS.iter().find(|fault| fault.argument() == name);
    found.copied().ok_or_else(|| format!("there is no fault {name}"))
}

/// One story with its trace.
fn replay(seed: u64, profiles: &[Profile], arguments: &Arguments) -> Result<()> {
    for &profile in profiles {
        let story = Story {
            profile,
            source: Source::Seed(seed),
            without: arguments.without.clone(),
            peers: arguments.peers.clone(),
        };
        println!("{}", story.described());
        let outcome = story.run(true);
        for line in &outcome.trace {
            println!("{line}");
        }
        match outcome.failure {
            Some(failure) => bail!("{profile} {seed}: {failure}"),
            None => println!("{profile} {seed}: {} turns, {} bytes, nothing broken", outcome.turns, outcome.bytes),
        }
    }
    Ok(())
}

/// What all threads add to.
#[derive(Default)]
struct Totals {
    coverage: Coverage,
    bytes: u64,
    turns: u64,
    /// Peers, bytes and turns of the first stories.
    sample: Vec<[u64; 3]>,
}

impl Totals {
    fn add(&mut self, outcome: &Outcome) {
        self.coverage.add(&outcome.coverage);
        self.bytes += outcome.bytes;
        self.turns += outcome.turns;
        if (self.sample.len() as u64) < SAMPLE {
            self.sample.push([outcome.peers, outcome.bytes, outcome.turns]);
        }
    }

    fn merge(&mut self, other: Totals) {
        self.coverage.add(&other.coverage);
        self.bytes += other.bytes;
        self.turns += other.turns;
        self.sample.extend(other.sample);
    }

    fn median(&mut self, which: usize) -> u64 {
        self.sample.sort_unstable_by_key(|values| values[which]);
        self.sample.get(self.sample.len() / 2).map_or(0, |values| values[which])
    }
}

/// All seeds of a profile.
fn run(profile: Profile, arguments: &Arguments) -> Result<()> {
    let threads = arguments.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let (first, end) = (arguments.first, arguments.first.saturating_add(arguments.seeds));
    let next = AtomicU64::new(first);
    let failed = Mutex::new(None);
    let totals = Mutex::new(Totals::default());
    let running = AtomicBool::new(true);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| work(profile, &next, end, &failed, &totals))).collect();
        scope.spawn(|| show_progress(profile, first, end, &next, &running));
        for worker in workers {
            let _ = worker.join();
        }
        running.store(false, Ordering::Relaxed);
    });
    if let Some(seed) = failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        return report_failure(profile, seed);
    }
    let mut totals = totals.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let elapsed = start.elapsed().as_secs_f64();
    let (peers, bytes, turns) = (totals.median(0), totals.median(1), totals.median(2));
    println!("{profile}: seeds {first}..{end}, nothing broken");
    println!("  {:.1} s on {threads} threads: {:.0} seeds/s", elapsed, arguments.seeds as f64 / elapsed);
    println!("  a seed in the median: {peers} peers, {bytes} bytes, {turns} turns");
    println!("  in all: {} turns, {} bytes, {} faults", totals.turns, totals.bytes, totals.coverage.faults());
    print!("{}", totals.coverage.table(profile));
    let missing = totals.coverage.missing(profile);
    if arguments.seeds >= SEEDS_FOR_COVERAGE && !missing.is_empty() {
        let names: Vec<&str> = missing.into_iter().map(Point::name).collect();
        bail!("{profile}: never met, and so not tested: {}", names.join("; "));
    }
    Ok(())
}

fn work(profile: Profile, next: &AtomicU64, end: u64, failed: &Mutex<Option<u64>>, totals: &Mutex<Totals>) {
    let mut mine = Totals::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            break;
        }
        let outcome = Story::of_seed(profile, seed).run(false);
        if outcome.failure.is_some() {
            let mut failed = failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            failed.get_or_insert(seed);
            next.store(end, Ordering::Relaxed);
            return;
        }
        mine.add(&outcome);
    }
    totals.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).merge(mine);
}

/// Says what broke, and how to see it again with as little around it as possible.
fn report_failure(profile: Profile, seed: u64) -> Result<()> {
    let story = Story::of_seed(profile, seed);
    let Some(failure) = story.run(false).failure else { bail!("{profile} {seed}: broken once, and not again") };
    let least = story.shrink(failure.promise, |story| story.run(false).failure.map(|failure| failure.promise));
    let shrunk = least.run(false).failure.unwrap_or_else(|| failure.clone());
    bail!("{profile} {seed}: {failure}\nat its least: {shrunk}\n  {}", least.replay());
}

/// Draws a bar on a terminal, or prints a line now and then.
fn show_progress(profile: Profile, first: u64, end: u64, next: &AtomicU64, running: &AtomicBool) {
    let (start, terminal) = (Instant::now(), std::io::stderr().is_terminal());
    let mut printed = start;
    while running.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
        let done = next.load(Ordering::Relaxed).min(end) - first;
        let share = done as f64 / (end - first).max(1) as f64;
        let rate = done as f64 / start.elapsed().as_secs_f64();
        let line = format!("{profile} {done} seeds ({:.0} %), {rate:.0} a second", share * 100.0);
        if terminal {
            let bar = "#".repeat((share * 30.0) as usize);
            let _ = write!(std::io::stderr(), "\r[{bar:<30}] {line} ");
        } else if printed.elapsed() >= LINE_INTERVAL {
            printed = Instant::now();
            eprintln!("{line}");
        }
    }
    if terminal {
        eprintln!();
    }
}
