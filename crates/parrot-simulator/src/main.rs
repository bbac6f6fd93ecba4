//! `cargo xtask simulate`: as many stories as one likes, on all cores, or one of them again with its trace.

mod arguments;
mod output;
mod seeds;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use parrot_simulator::{Profile, Source, Story};

use arguments::{Arguments, Only};
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
        Ok(Verdict::Well) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::FAILURE,
        Err(error) => {
            tell(format_args!("simulate: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<Verdict> {
    let mut output = Output::standard();
    let profiles = arguments.profile.map_or(Profile::ALL.to_vec(), |profile| vec![profile]);
    let mut verdict = Verdict::Well;
    for profile in profiles {
        // Who has left does not wait for another profile.
        if output.reader_left() {
            break;
        }
        let this = match arguments.replay {
            Some(seed) => replay(seed, profile, arguments, &mut output),
            None => seeds::run(profile, arguments, &mut output),
        };
        if this? == Verdict::Bad {
            verdict = Verdict::Bad;
        }
    }
    Ok(verdict)
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
