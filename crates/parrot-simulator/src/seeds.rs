//! Runs many seeds of a profile on all cores, and reports on them.

use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};
use parrot_simulator::{Coverage, Outcome, Point, Profile, SEEDS_FOR_COVERAGE, Story};

use crate::Verdict;
use crate::arguments::Arguments;
use crate::interrupt::Interrupt;
use crate::output::warn;

/// The number of stories that the medians are taken from.
const SAMPLE: u64 = 10_000;
/// How often a line of progress is printed where no bar can be drawn.
const LINE_INTERVAL: Duration = Duration::from_secs(30);

/// The sums over all threads.
#[derive(Default)]
struct Totals {
    coverage: Coverage,
    bytes: u64,
    turns: u64,
    seeds: u64,
    /// The peers, bytes and turns of the first stories.
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

    fn median(&self, which: usize) -> HumanCount {
        let mut values: Vec<u64> = self.sample.iter().map(|values| values[which]).collect();
        values.sort_unstable();
        HumanCount(values.get(values.len() / 2).copied().unwrap_or(0))
    }
}

/// The state that all threads of a run share.
struct Run<'a> {
    profile: Profile,
    /// Threads take seeds in order and finish what they took, so every seed below this one was run.
    next: AtomicU64,
    end: u64,
    failed: Mutex<Option<u64>>,
    totals: Mutex<Totals>,
    progress: ProgressBar,
    interrupt: &'a Interrupt,
}

/// Runs all seeds of a profile.
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
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    let totals = totals.into_inner().unwrap_or_else(PoisonError::into_inner);
    report(profile, &totals, elapsed, threads, output)?;
    if let Some(seed) = failed {
        return Ok(Verdict::Bad(report_failure(profile, seed, interrupt)));
    }
    let next = next.into_inner();
    let interrupted = interrupt.came().filter(|_| next < end);
    let ended = interrupted.map(|by| format!("interrupted by {by}, ")).unwrap_or_default();
    writeln!(output, "{profile}: seeds {first}..{next}, {ended}nothing broken")?;
    let missing: Vec<&str> = totals.coverage.missing(profile).into_iter().map(Point::name).collect();
    if !missing.is_empty() {
        let names = missing.join("; ");
        if interrupted.is_some() {
            writeln!(output, "{profile}: not met before the interrupt: {names}")?;
        } else if arguments.seeds >= SEEDS_FOR_COVERAGE {
            let never = format!("{profile}: never met, and so not tested: {names}");
            warn(&never);
            return Ok(Verdict::Bad(never));
        } else {
            let enough = HumanCount(SEEDS_FOR_COVERAGE);
            writeln!(output, "{profile}: not met, but required of a run of {enough} seeds: {names}")?;
        }
    }
    Ok(Verdict::Good)
}

impl Run<'_> {
    fn work(&self) {
        let mut mine = Totals::default();
        while let Some(seed) = self.take() {
            let outcome = Story::of_seed(self.profile, seed).run(false);
            mine.add(&outcome);
            if outcome.failure.is_some() {
                // Keep the lowest seed that fails. All seeds below it have been taken.
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                *failed = Some(failed.map_or(seed, |other: u64| other.min(seed)));
                self.next.store(self.end, Ordering::Relaxed);
                self.progress.abandon();
                break;
            }
            self.progress.inc(1);
        }
        self.totals.lock().unwrap_or_else(PoisonError::into_inner).merge(mine);
    }

    /// Takes the next seed, unless the run is interrupted or at its end.
    fn take(&self) -> Option<u64> {
        if self.interrupt.came().is_some() {
            return None;
        }
        let following = |next| (next < self.end).then(|| next + 1);
        self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, following).ok()
    }

    /// Prints a line at the start and every [`LINE_INTERVAL`], where there is no terminal.
    fn print_progress(&self) {
        let Run { profile, progress, .. } = self;
        let seeds = progress.length().unwrap_or_default();
        warn(format_args!("{profile}: {} seeds to run", HumanCount(seeds)));
        let mut printed = Instant::now();
        while !progress.is_finished() && progress.position() < seeds && self.interrupt.came().is_none() {
            std::thread::sleep(Duration::from_millis(50));
            if printed.elapsed() >= LINE_INTERVAL {
                printed = Instant::now();
                let (done, left) = (progress.position(), progress.eta().as_secs());
                let [done, seeds, rate] = [done, seeds, progress.per_sec() as u64].map(HumanCount);
                warn(format_args!("{profile}: {done} of {seeds} seeds, {rate} per second, {left} s left"));
            }
        }
    }
}

/// Reports what was run and the table of what it met, whether or not a promise was broken.
fn report(profile: Profile, totals: &Totals, elapsed: f64, threads: usize, output: &mut impl Write) -> io::Result<()> {
    let [seeds, rate] = [totals.seeds, (totals.seeds as f64 / elapsed) as u64].map(HumanCount);
    writeln!(output, "{profile}: {seeds} seeds in {elapsed:.1} s on {threads} threads, {rate} per second")?;
    let [peers, bytes, turns] = [0, 1, 2].map(|which| totals.median(which));
    writeln!(output, "  median per seed: {peers} peers, {bytes} bytes, {turns} turns")?;
    let [turns, bytes, faults] = [totals.turns, totals.bytes, totals.coverage.faults()].map(HumanCount);
    writeln!(output, "  total: {turns} turns, {bytes} bytes, {faults} faults")?;
    write!(output, "{}", totals.coverage.table(profile))
}

/// Reports the failure of a seed and the smallest story that shows it. Returns the command that replays that story.
fn report_failure(profile: Profile, seed: u64, interrupt: &Interrupt) -> String {
    let story = Story::of_seed(profile, seed);
    let Some(failure) = story.run(false).failure else {
        let once = format!("{profile} {seed}: broken once, but not when run again");
        warn(&once);
        return once;
    };
    warn(format_args!("{profile} {seed}: {failure}\n  {}\nshrinking it, which may take a while", story.replay()));
    // After an interrupt no smaller story fails, so the smallest so far is the result.
    let least = story.shrink(failure.promise, |story| match interrupt.came() {
        Some(_) => None,
        None => story.run(false).failure.map(|failure| failure.promise),
    });
    let shrunk = least.run(false).failure.unwrap_or(failure);
    let replay = least.replay();
    warn(format_args!("{profile} {seed}, shrunk: {shrunk}\n  {replay}"));
    replay
}

/// Makes a progress bar, which is hidden where there is no terminal.
fn progress(profile: Profile, seeds: u64) -> ProgressBar {
    let progress = ProgressBar::new(seeds).with_prefix(profile.to_string());
    // Short enough for 80 columns with seeds by the million.
    let look = "{prefix} [{bar:16}] {human_pos} of {human_len} seeds, {rate}/s, {eta} left";
    let rate = |state: &ProgressState, to: &mut dyn fmt::Write| {
        let _ = write!(to, "{}", HumanCount(state.per_sec() as u64));
    };
    if let Ok(style) = ProgressStyle::with_template(look) {
        progress.set_style(style.with_key("rate", rate).progress_chars("##-"));
    }
    progress
}
