//! `cargo xtask simulate`: as many stories as one likes, on all cores, or one of them again with its trace.

mod arguments;
mod interrupt;
mod output;
mod seeds;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use parrot_simulator::{Profile, Source, Story};

use arguments::{Arguments, Only};
use interrupt::{INTERRUPTED, Interrupt};
use output::{Output, tell};

/// Whether all that was run is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Well,
    /// Told already.
    Bad,
}

fn main() -> ExitCode {
    parrot_simulator::name_stories_that_panic();
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            tell(format_args!("simulate: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    // One story alone ends soon, and a signal may end it sooner.
    let taken = match arguments.replay {
        Some(_) => None,
        None => Some(Interrupt::take().context("cannot wait for Ctrl-C")?),
    };
    let (interrupt, _guard) = taken.map_or_else(Default::default, |(interrupt, guard)| (interrupt, Some(guard)));
    let mut output = Output::standard();
    let profiles = arguments.profile.map_or(Profile::ALL.to_vec(), |profile| vec![profile]);
    let mut verdict = Verdict::Well;
    for profile in profiles {
        // Who has left, or wants an end, does not wait for another profile.
        if output.reader_left() || interrupt.came().is_some() {
            break;
        }
        let this = match arguments.replay {
            Some(seed) => replay(seed, profile, arguments, &mut output),
            None => seeds::run(profile, arguments, &interrupt, &mut output),
        };
        if this? == Verdict::Bad {
            verdict = Verdict::Bad;
        }
    }
    Ok(match (verdict, interrupt.came()) {
        (Verdict::Bad, _) => ExitCode::FAILURE,
        (Verdict::Well, Some(_)) => ExitCode::from(INTERRUPTED),
        (Verdict::Well, None) => ExitCode::SUCCESS,
    })
}

/// One story with its trace.
fn replay(seed: u64, profile: Profile, arguments: &Arguments, output: &mut impl Write) -> Result<Verdict> {
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
        tell(format_args!("{profile} {seed}: {failure}"));
        return Ok(Verdict::Bad);
    }
    writeln!(output, "{profile} {seed}: {} turns, {} bytes, nothing broken", outcome.turns, outcome.bytes)?;
    Ok(Verdict::Well)
}
