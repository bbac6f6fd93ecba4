//! `cargo xtask simulate` runs many stories on all cores, or replays one with its trace.

mod arguments;
mod interrupt;
mod output;
mod seeds;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use indicatif::HumanCount;
use parrot_simulator::{Profile, Source, Story};

use arguments::{Arguments, Only};
use interrupt::{INTERRUPTED, Interrupt};
use output::{Output, warn};

/// The result of all runs of a profile.
pub(crate) enum Verdict {
    Good,
    /// The failure is reported already. The text is repeated at the end: the command that replays it, or the failure.
    Bad(String),
}

fn main() -> ExitCode {
    parrot_simulator::name_stories_that_panic();
    match run(&Arguments::read()) {
        Ok(code) => code,
        Err(error) => {
            warn(format_args!("simulate: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    // A single story ends soon, so signals may kill the program.
    let taken = match arguments.replay {
        Some(_) => None,
        None => Some(Interrupt::take().context("cannot wait for Ctrl-C")?),
    };
    let (interrupt, _guard) = taken.map_or_else(Default::default, |(interrupt, guard)| (interrupt, Some(guard)));
    let mut output = Output::standard();
    let profiles = arguments.profile.map_or(Profile::ALL.to_vec(), |profile| vec![profile]);
    let mut run = 0;
    let mut bad = Vec::new();
    for profile in profiles {
        if output.reader_left() || interrupt.came().is_some() {
            break;
        }
        let verdict = match arguments.replay {
            Some(seed) => replay(seed, profile, arguments, &mut output),
            None => seeds::run(profile, arguments, &interrupt, &mut output),
        };
        run += 1;
        if let Verdict::Bad(repeated) = verdict.context("cannot write to standard output")? {
            bad.push(repeated);
        }
    }
    if run > 1 && !bad.is_empty() {
        // The report of the other profile may have moved the first failure out of sight.
        warn(format_args!("broken:\n  {}", bad.join("\n  ")));
    }
    Ok(match interrupt.came() {
        _ if !bad.is_empty() => ExitCode::FAILURE,
        Some(_) => ExitCode::from(INTERRUPTED),
        None => ExitCode::SUCCESS,
    })
}

/// Runs one story and prints its trace.
fn replay(seed: u64, profile: Profile, arguments: &Arguments, output: &mut impl Write) -> io::Result<Verdict> {
    let story = Story {
        profile,
        source: Source::Seed(seed),
        faults: arguments.faults.clone().map(|Only(faults)| faults),
        peers: arguments.peers.clone().map(|Only(peers)| peers),
        most_bytes: arguments.most_bytes,
    };
    writeln!(output, "{}", story.described())?;
    let outcome = story.run(true);
    for line in &outcome.trace {
        writeln!(output, "{line}")?;
    }
    if let Some(failure) = outcome.failure {
        warn(format_args!("{profile} {seed}: {failure}"));
        return Ok(Verdict::Bad(story.replay()));
    }
    let [turns, bytes] = [outcome.turns, outcome.bytes].map(HumanCount);
    writeln!(output, "{profile} {seed}: {turns} turns, {bytes} bytes, nothing broken")?;
    Ok(Verdict::Good)
}
