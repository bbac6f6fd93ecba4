//! A run of scenarios: a line for each, and for one that fails how to repeat it.

use std::io::{self, Write};
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::measure::time;
use crate::scenario::Scenario;
use crate::trial::{Conditions, Outcome, run, server_words};

/// Descriptors the suite needs beside its connections.
const RESERVE: u64 = 100;

/// How many scenarios ended how.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// All that must hold held.
    pub passed: usize,
    /// Not possible on this machine: which, and why.
    pub skipped: Vec<(Scenario, String)>,
    /// Something did not hold.
    pub failed: usize,
}

/// Runs these scenarios one after the other and tells of each on `out`.
///
/// # Errors
///
/// When `out` cannot be written to; what a scenario finds is told and counted.
pub fn run_all(scenarios: &[Scenario], conditions: &Conditions, out: &mut dyn Write) -> io::Result<Tally> {
    let mut tally = Tally::default();
    for scenario in scenarios {
        let start = Instant::now();
        let outcome = run(scenario, conditions);
        let took = time(start.elapsed());
        let name = scenario.name;
        match outcome {
            Ok(Outcome::Passed(figures)) => {
                tally.passed += 1;
                writeln!(out, "ok    {name:<18} {took:>7}  {}", figures.join("; "))?;
            }
            Ok(Outcome::Skipped(reason)) => {
                writeln!(out, "skip  {name:<18} {took:>7}  {reason}")?;
                tally.skipped.push((*scenario, reason));
            }
            Err(error) => {
                tally.failed += 1;
                writeln!(out, "FAIL  {name:<18} {took:>7}  {error:#}\n      the story: {}", scenario.story)?;
                writeln!(out, "      the server's words: {}", server_words(scenario, conditions).display())?;
                let short = if conditions.short { " --short" } else { "" };
                let seconds = conditions.time.as_secs_f64();
                writeln!(out, "      to repeat it: cargo xtask torture --only {name} --seconds {seconds}{short}")?;
            }
        }
        out.flush()?;
    }
    Ok(tally)
}

/// What macOS grants, though it names no maximum (OPEN_MAX in sys/syslimits.h; setrlimit(2)).
const OPEN_MAX: u64 = 10_240;

/// Makes room for as many connections of the suite's own as the system grants, and says how many that are.
pub fn room_for_connections() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let most = maximum.or(cfg!(target_os = "macos").then_some(OPEN_MAX));
    if most.is_some() {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: most, maximum });
    }
    let granted = getrlimit(Resource::Nofile).current.unwrap_or(u64::from(u16::MAX));
    usize::try_from(granted.saturating_sub(RESERVE)).unwrap_or(usize::MAX)
}
