//! Measures finely: many short rounds of processes that stay alive, of which one runs at a time.
//!
//! A block is one round of each server, on one process each, in an order that changes from block to block. It gives one
//! ratio to Parrot for each of the others. The median of these ratios does not depend on how fast the machine is at the
//! moment, as long as that changes little within a block, and its interval shows how far they agree.
//!
//! Each round opens its connections anew. With connections that stay open, 10,000 for each of three processes, the load
//! generator would need more descriptors than most systems grant.

mod clients;
mod order;

use anyhow::{Context, Result};
use parrot_testkit::output::say;

use crate::arguments::{Arguments, has_pairs};
use crate::comparison::{Comparison, Figure, Fine, Round, Schedule};
use crate::measure::{Measure, Timing};
use crate::results::{LogLines, Results, Run, SuiteInfo};
use crate::running::Running;
use crate::server::{Server, counterpart};
use crate::shortage;
use crate::suite::Suite;
use crate::table::Table;
use order::order;

/// Processes of each server. They differ in how their memory is laid out, which can change what a message costs.
const PROCESSES: usize = 5;
/// Processes of each server in a large suite, where some servers keep the memory of 10,000 connections.
const FEWER_PROCESSES: usize = 3;
/// Rounds after which a server that is clearly apart from Parrot has no more of them.
const ENOUGH: usize = 12;
/// A server is clearly apart if the whole interval is beyond this multiple of Parrot's figure, or below its inverse.
const APART: f64 = 1.1;

/// Measures every suite. After an interruption, `results` contains what was measured so far.
///
/// # Errors
///
/// If standard output cannot be written.
pub(crate) fn measure(
    arguments: &Arguments,
    measure: &Measure<'_>,
    servers: &[Server],
    results: &mut Results,
) -> Result<()> {
    results.fine = Some(Fine::default());
    for suite in arguments.suites() {
        let field: Vec<&Server> = servers.iter().filter(|server| server.takes_part(&suite)).collect();
        if !has_pairs(&suite, &field) {
            continue;
        }
        let processes = if suite.is_large() { FEWER_PROCESSES } else { PROCESSES };
        let (timing, rounds) = (arguments.timing_of_round(&suite), arguments.rounds(&suite));
        let processes = if suite.is_of_clients() { 0 } else { processes.min(rounds) };
        let [warmup, window] = [timing.warmup, timing.window].map(|time| time.as_secs_f64());
        let (info, schedule) = (SuiteInfo::of(&suite), Schedule { processes, rounds, warmup, window });
        results.fine.get_or_insert_default().schedules.insert(suite.name.clone(), schedule);
        results.suites.push(info.clone());
        say(format_args!("\n{}: {} ({})", info.name, info.title, results.load(&info)))?;
        let early = arguments.may_end_early();
        let turns = Turns { measure, suite: &suite, info: &info, timing, processes, rounds, early };
        let outcome =
            if suite.is_of_clients() { turns.take_clients(&field, results) } else { turns.take(&field, results) };
        results.interrupted = measure.interrupt.stop.stopped();
        if let Some(shortage) = outcome.as_ref().err().and_then(shortage) {
            say(format_args!("  skipped: {shortage}"))?;
            results.suites.pop();
            results.skipped.insert(info.name, shortage.to_string());
            continue;
        }
        results.compare(&info);
        say(Table::of(results, &info).text().trim_end())?;
        if results.interrupted {
            break;
        }
    }
    Ok(())
}

/// The turns that the servers take in one suite.
struct Turns<'a> {
    measure: &'a Measure<'a>,
    suite: &'a Suite,
    info: &'a SuiteInfo,
    timing: Timing,
    processes: usize,
    rounds: usize,
    /// Whether a server that is clearly apart from Parrot has fewer rounds.
    early: bool,
}

/// A server with its processes, all of which are stopped between two rounds.
struct Entrant<'a> {
    server: &'a Server,
    processes: Vec<Running<'a>>,
}

impl<'a> Turns<'a> {
    /// Starts `servers`, measures their rounds and ends them. A server that fails has no further rounds.
    ///
    /// # Errors
    ///
    /// If this machine has too few resources for the load.
    fn take(&self, servers: &[&'a Server], results: &mut Results) -> Result<()> {
        let mut entrants = Vec::new();
        for server in servers {
            match self.start(server) {
                Ok(entrant) => entrants.push(entrant),
                Err(error) => self.record(server, Err(error), results)?,
            }
            if self.measure.interrupt.stop.stopped() {
                return Ok(());
            }
        }
        for block in 0..self.rounds {
            for place in order(block, entrants.len()) {
                let Some(entrant) = entrants.get_mut(place) else { continue };
                let outcome = self.round(entrant, block);
                self.record(entrant.server, outcome, results)?;
                if self.measure.interrupt.stop.stopped() {
                    return Ok(());
                }
            }
            entrants.retain(|entrant| results.cell_mut(&self.suite.name, &entrant.server.name).errors.is_empty());
            if self.early && block + 1 == ENOUGH {
                let (done, rest) =
                    entrants.into_iter().partition(|entrant| self.is_apart(entrant.server, servers, results));
                entrants = rest;
                self.finish(done, results);
            }
        }
        self.finish(entrants, results);
        Ok(())
    }

    /// Starts and stops each process of `server`.
    fn start(&self, server: &'a Server) -> Result<Entrant<'a>> {
        let mut entrant = Entrant { server, processes: Vec::new() };
        for number in 0..self.processes {
            let errors = self.measure.errors.join(format!("{}-{number}.stderr", server.name));
            let mut running = self.measure.start(self.suite, server, errors)?;
            running.stop()?;
            entrant.processes.push(running);
        }
        Ok(entrant)
    }

    /// Lets one process of `entrant` go on, measures it, and stops it.
    fn round(&self, entrant: &mut Entrant<'_>, block: usize) -> Result<Run> {
        let process = block % self.processes;
        let running = entrant.processes.get_mut(process).context("a server has lost a process")?;
        running.go_on()?;
        let run = self.measure.load(self.suite, running, self.timing);
        // The ends of the connections belong to this round. Without this they could be left for the next one.
        let echo = running.expect_echo(entrant.server);
        let stopped = running.stop();
        let (run, (), ()) = (run?, echo?, stopped?);
        running.empty_log()?;
        // A curve of each round would make the file of the results long.
        Ok(Run { round: Some(Round { block, process }), curve: Vec::new(), ..run })
    }

    /// Adds the outcome of a round to the results, unless it was interrupted.
    ///
    /// # Errors
    ///
    /// If this machine has too few resources for the load.
    fn record(&self, server: &Server, outcome: Result<Run>, results: &mut Results) -> Result<()> {
        if self.measure.interrupt.stop.stopped() {
            return Ok(());
        }
        let cell = results.cell_mut(&self.suite.name, &server.name);
        match outcome {
            Ok(run) => cell.runs.push(run),
            Err(error) if shortage(&error).is_some() => return Err(error),
            Err(error) => cell.errors.push(format!("{error:#}")),
        }
        Ok(())
    }

    /// Whether `server` is clearly apart from its counterpart in every figure, and no other server's counterpart.
    fn is_apart(&self, server: &Server, servers: &[&Server], results: &Results) -> bool {
        let is_apart = |figure: &Figure| {
            let comparison = Comparison::of(results, &self.suite.name, &server.name, *figure);
            comparison.is_some_and(|one| one.ratio.is_above(APART) || one.ratio.is_below(1.0 / APART))
        };
        !servers.iter().any(|other| counterpart(&self.suite.name, &other.name) == server.name)
            && Figure::of(self.info).iter().all(is_apart)
    }

    /// Ends the servers, and adds the lines that they have logged in all rounds to their last one.
    fn finish(&self, entrants: Vec<Entrant<'_>>, results: &mut Results) {
        for Entrant { server, processes } in entrants {
            let cell = results.cell_mut(&self.suite.name, &server.name);
            for process in processes {
                match process.finish() {
                    Ok(None) => {}
                    Ok(Some(lines)) => {
                        let Some(run) = cell.runs.last_mut() else { continue };
                        let before = run.log.unwrap_or_default();
                        let (written, dropped) = (before.written + lines.written, before.dropped + lines.dropped);
                        run.log = Some(LogLines { written, dropped });
                    }
                    Err(error) => cell.errors.push(format!("{error:#}")),
                }
            }
        }
    }
}
