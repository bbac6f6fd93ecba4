//! Many seeds of a profile, on all cores, and the report on them.

use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use parrot_simulator::{Coverage, Outcome, Point, Profile, SEEDS_FOR_COVERAGE, Story};

use crate::Verdict;
use crate::arguments::Arguments;
use crate::output::tell;

/// From so many stories the medians are taken.
const SAMPLE: u64 = 10_000;
/// How often a line of progress is printed where no bar can be drawn.
const LINE_INTERVAL: Duration = Duration::from_secs(30);

/// What all threads add to.
#[derive(Default)]
struct Totals {
    coverage: Coverage,
    bytes: u64,
    turns: u64,
    seeds: u64,
    /// Peers, bytes and turns of the first stories.
    sample: Vec<[u64; 3]>,
}

impl Totals {
    fn add(&mut self, outcome: &Outcome) {
        self.coverage.add(&outcome.coverage);
        self.bytes += outcome.bytes;
        self.turns += outcome.turns;
        self.seeds += 1;
        if (self.sample.len() as u64) < SAMPLE {
            self.sample.push([outcome.peers, outcome.bytes, outcome.turns]);
        }
    }

    fn merge(&mut self, other: Totals) {
        self.coverage.add(&other.coverage);
        self.bytes += other.bytes;
        self.turns += other.turns;
        self.seeds += other.seeds;
        self.sample.extend(other.sample);
    }

    fn median(&self, which: usize) -> u64 {
        let mut values: Vec<u64> = self.sample.iter().map(|values| values[which]).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    }
}

/// All seeds of a profile.
pub(crate) fn run(profile: Profile, arguments: &Arguments, output: &mut impl Write) -> Result<Verdict> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.map_or_else(cores, usize::from);
    let first = arguments.first;
    let end = first.checked_add(arguments.seeds).filter(|end| *end < u64::MAX);
    let end = end.context("there are not so many seeds from that one on: lower --first or --seeds")?;
    let next = AtomicU64::new(first);
    let failed = Mutex::new(None);
    let totals = Mutex::new(Totals::default());
    let progress = progress(profile, end - first);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(profile, &next, end, &failed, &totals, &progress));
        }
        if progress.is_hidden() {
            print_progress(profile, &progress);
        }
    });
    progress.finish_and_clear();
    let elapsed = start.elapsed().as_secs_f64();
    let failed: Option<u64> = failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let totals = totals.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    report(profile, &totals, elapsed, threads, output)?;
    if let Some(seed) = failed {
        report_failure(profile, seed);
        return Ok(Verdict::Bad);
    }
    writeln!(output, "{profile}: seeds {first}..{end}, nothing broken")?;
    let missing: Vec<&str> = totals.coverage.missing(profile).into_iter().map(Point::name).collect();
    if !missing.is_empty() {
        let names = missing.join("; ");
        if arguments.seeds >= SEEDS_FOR_COVERAGE {
            tell(format_args!("{profile}: never met, and so not tested: {names}"));
            return Ok(Verdict::Bad);
        }
        writeln!(output, "{profile}: not met, which a run of {SEEDS_FOR_COVERAGE} seeds would fail for: {names}")?;
    }
    Ok(Verdict::Well)
}

fn work(
    profile: Profile,
    next: &AtomicU64,
    end: u64,
    failed: &Mutex<Option<u64>>,
    totals: &Mutex<Totals>,
    progress: &ProgressBar,
) {
    let mut mine = Totals::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            break;
        }
        let outcome = Story::of_seed(profile, seed).run(false);
        mine.add(&outcome);
        if outcome.failure.is_some() {
            // The first of them, whichever thread finds one first: those before it have all been begun.
            let mut failed = failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            *failed = Some(failed.map_or(seed, |other: u64| other.min(seed)));
            next.store(end, Ordering::Relaxed);
            // Nobody waits for seeds that nobody runs.
            progress.abandon();
            break;
        }
        progress.inc(1);
    }
    totals.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).merge(mine);
}

/// What was run, and the table of what it met: also of a run that found something.
fn report(profile: Profile, totals: &Totals, elapsed: f64, threads: usize, output: &mut impl Write) -> io::Result<()> {
    let (peers, bytes, turns) = (totals.median(0), totals.median(1), totals.median(2));
    writeln!(
        output,
        "{profile}: {} seeds in {elapsed:.1} s on {threads} threads, {:.0} a second",
        totals.seeds,
        totals.seeds as f64 / elapsed
    )?;
    writeln!(output, "  a seed in the median: {peers} peers, {bytes} bytes, {turns} turns")?;
    let faults = totals.coverage.faults();
    writeln!(output, "  in all: {} turns, {} bytes, {faults} faults", totals.turns, totals.bytes)?;
    write!(output, "{}", totals.coverage.table(profile))
}

/// Says what broke, and how to see it again with as little around it as possible.
fn report_failure(profile: Profile, seed: u64) {
    let story = Story::of_seed(profile, seed);
    let Some(failure) = story.run(false).failure else {
        return tell(format_args!("{profile} {seed}: broken once, and not again"));
    };
    tell(format_args!("{profile} {seed}: {failure}\n  {}\nshrinking it; this may take a while", story.replay()));
    let least = story.shrink(failure.promise, |story| story.run(false).failure.map(|failure| failure.promise));
    let shrunk = least.run(false).failure.unwrap_or(failure);
    tell(format_args!("{profile} {seed}, at its least: {shrunk}\n  {}", least.replay()));
}

/// A bar on a terminal.
fn progress(profile: Profile, seeds: u64) -> ProgressBar {
    let progress = ProgressBar::new(seeds).with_prefix(profile.to_string());
    let look = "{prefix} [{bar:30}] {pos} of {len} seeds, {per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(look) {
        progress.set_style(style.progress_chars("##-"));
    }
    progress
}

/// A line now and then, where there is no terminal.
fn print_progress(profile: Profile, progress: &ProgressBar) {
    let seeds = progress.length().unwrap_or_default();
    let mut printed = Instant::now();
    while !progress.is_finished() && progress.position() < seeds {
        std::thread::sleep(Duration::from_millis(50));
        if printed.elapsed() >= LINE_INTERVAL {
            printed = Instant::now();
            let (done, left) = (progress.position(), progress.eta().as_secs());
            let rate = progress.per_sec();
            tell(format_args!("{profile}: {done} of {seeds} seeds, {rate:.0} a second, {left} s left"));
        }
    }
}
