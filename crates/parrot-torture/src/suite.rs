//! A run of scenarios. It prints a line for each, and for one that fails how to repeat it.

use std::io::{self, Write};
use std::time::Instant;

use parrot_testkit::descriptors::raise_limit;

use crate::figures::time;
use crate::scenario::Scenario;
use crate::trial::{Conditions, Outcome, run, stderr_path};

/// Descriptors that the suite needs beside its connections.
const RESERVE: u64 = 100;

/// The results of a run.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Scenarios in which everything held.
    pub passed: usize,
    /// Scenarios that cannot run here, and why.
    pub skipped: Vec<(Scenario, String)>,
    /// Scenarios in which something did not hold.
    pub failed: usize,
}

/// Runs these scenarios one after the other and reports each on `out`.
///
/// # Errors
///
/// When `out` cannot be written to. A scenario that fails is no error, and is reported and counted.
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
                writeln!(out, "      the server's stderr: {}", stderr_path(scenario, conditions).display())?;
                let short = if conditions.short { " --short" } else { "" };
                let seconds = conditions.time.as_secs_f64();
                writeln!(out, "      to repeat it: cargo xtask torture --only {name} --seconds {seconds}{short}")?;
            }
        }
        out.flush()?;
    }
    Ok(tally)
}

/// Raises the limit of descriptors as far as the system lets it, and returns how many connections of the suite's own it
/// allows.
pub fn room_for_connections() -> usize {
    usize::try_from(raise_limit().saturating_sub(RESERVE)).unwrap_or(usize::MAX)
}
