//! Many seeds of a profile, on all cores, and the report on them.

use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use parrot_simulator::{Coverage, Outcome, Point, Profile, SEEDS_FOR_COVERAGE, Story};

use crate::Verdict;
use crate::arguments::Arguments;
use crate::interrupt::Interrupt;
use crate::output::{tell, thousands};

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

/// What all threads of a run see.
struct Run<'a> {
    profile: Profile,
    /// Taken in order, and what was taken is run to its end: below this one all have been.
    next: AtomicU64,
    end: u64,
    failed: Mutex<Option<u64>>,
    totals: Mutex<Totals>,
    progress: ProgressBar,
    interrupt: &'a Interrupt,
}

/// All seeds of a profile.
pub(crate) fn run(
    profile: Profile,
    arguments: &Arguments,
    interrupt: &Interrupt,
    output: &mut impl Write,
) -> io::Result<Verdict> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.map_or_else(cores, usize::from);
    let Range { start: first, end } = arguments.range();
    let run = Run {
        profile,
        next: AtomicU64::new(first),
        end,
        failed: Mutex::new(None),
        totals: Mutex::new(Totals::default()),
        progress: progress(profile, end - first),
        interrupt,
    };
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| run.work());
        }
        if run.progress.is_hidden() {
            run.print_progress();
        }
    });
    run.progress.finish_and_clear();
    let elapsed = start.elapsed().as_secs_f64();
    let Run { next, failed, totals, .. } = run;
    let failed: Option<u64> = failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let totals = totals.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    report(profile, &totals, elapsed, threads, output)?;
    if let Some(seed) = failed {
        return Ok(Verdict::Bad(report_failure(profile, seed, interrupt)));
    }
    let next = next.into_inner();
    let interrupted = interrupt.came().filter(|_| next < end);
    let ended = interrupted.map(|by| format!("ended by {by}, ")).unwrap_or_default();
    writeln!(output, "{profile}: seeds {first}..{next}, {ended}nothing broken")?;
    let missing: Vec<&str> = totals.coverage.missing(profile).into_iter().map(Point::name).collect();
    if !missing.is_empty() {
        let names = missing.join("; ");
        if interrupted.is_some() {
            writeln!(output, "{profile}: not met until then: {names}")?;
        } else if arguments.seeds >= SEEDS_FOR_COVERAGE {
            let never = format!("{profile}: never met, and so not tested: {names}");
            tell(format_args!("{never}"));
            return Ok(Verdict::Bad(never));
        } else {
            let enough = thousands(SEEDS_FOR_COVERAGE);
            writeln!(output, "{profile}: not met, which a run of {enough} seeds would fail for: {names}")?;
        }
    }
    Ok(Verdict::Well)
}

impl Run<'_> {
    fn work(&self) {
        let mut mine = Totals::default();
        while let Some(seed) = self.take() {
            let outcome = Story::of_seed(self.profile, seed).run(false);
            mine.add(&outcome);
            if outcome.failure.is_some() {
                // The first of them, whichever thread finds one first: those before it have all been begun.
                let mut failed = self.failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                *failed = Some(failed.map_or(seed, |other: u64| other.min(seed)));
                self.next.store(self.end, Ordering::Relaxed);
                // Nobody waits for seeds that nobody runs.
                self.progress.abandon();
                break;
            }
            self.progress.inc(1);
        }
        self.totals.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).merge(mine);
    }

    /// The next seed, if it is to be run. One that is not is not taken either.
    fn take(&self) -> Option<u64> {
        if self.interrupt.came().is_some() {
            return None;
        }
        let following = |next| (next < self.end).then(|| next + 1);
        self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, following).ok()
    }

    /// A line at the start and now and then, where there is no terminal.
    fn print_progress(&self) {
        let Run { profile, progress, .. } = self;
        let seeds = progress.length().unwrap_or_default();
        tell(format_args!("{profile}: {} seeds to run", thousands(seeds)));
        let mut printed = Instant::now();
        while !progress.is_finished() && progress.position() < seeds && self.interrupt.came().is_none() {
            std::thread::sleep(Duration::from_millis(50));
            if printed.elapsed() >= LINE_INTERVAL {
                printed = Instant::now();
                let (done, left) = (progress.position(), progress.eta().as_secs());
                let [done, seeds, rate] = [done, seeds, progress.per_sec() as u64].map(thousands);
                tell(format_args!("{profile}: {done} of {seeds} seeds, {rate} a second, {left} s left"));
            }
        }
    }
}

/// What was run, and the table of what it met: also of a run that found something.
fn report(profile: Profile, totals: &Totals, elapsed: f64, threads: usize, output: &mut impl Write) -> io::Result<()> {
    let [seeds, rate] = [totals.seeds, (totals.seeds as f64 / elapsed) as u64].map(thousands);
    writeln!(output, "{profile}: {seeds} seeds in {elapsed:.1} s on {threads} threads, {rate} a second")?;
    let [peers, bytes, turns] = [0, 1, 2].map(|which| thousands(totals.median(which)));
    writeln!(output, "  a seed in the median: {peers} peers, {bytes} bytes, {turns} turns")?;
    let [turns, bytes, faults] = [totals.turns, totals.bytes, totals.coverage.faults()].map(thousands);
    writeln!(output, "  in all: {turns} turns, {bytes} bytes, {faults} faults")?;
    write!(output, "{}", totals.coverage.table(profile))
}

/// Says what broke, and how to see it again with as little around it as possible; returns how.
fn report_failure(profile: Profile, seed: u64, interrupt: &Interrupt) -> String {
    let story = Story::of_seed(profile, seed);
    let Some(failure) = story.run(false).failure else {
        let once = format!("{profile} {seed}: broken once, and not again");
        tell(format_args!("{once}"));
        return once;
    };
    tell(format_args!("{profile} {seed}: {failure}\n  {}\nshrinking it; this may take a while", story.replay()));
    // Interrupted, nothing smaller is found: what there is by then is the least.
    let wanted = || interrupt.came().is_none();
    let least = story.shrink(failure.promise, |story| {
        wanted().then(|| story.run(false).failure.map(|failure| failure.promise)).flatten()
    });
    let shrunk = least.run(false).failure.unwrap_or(failure);
    let replay = least.replay();
    tell(format_args!("{profile} {seed}, at its least: {shrunk}\n  {replay}"));
    replay
}

/// A bar on a terminal.
fn progress(profile: Profile, seeds: u64) -> ProgressBar {
    let progress = ProgressBar::new(seeds).with_prefix(profile.to_string());
    // Short enough for 80 columns with seeds by the million.
    let look = "{prefix} [{bar:16}] {human_pos} of {human_len} seeds, {rate}/s, {eta} left";
    let rate = |state: &ProgressState, to: &mut dyn fmt::Write| {
        let _ = to.write_str(&thousands(state.per_sec() as u64));
    };
    if let Ok(style) = ProgressStyle::with_template(look) {
        progress.set_style(style.with_key("rate", rate).progress_chars("##-"));
    }
    progress
}
