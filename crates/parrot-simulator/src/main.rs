//! `cargo xtask simulate`: as many stories as one likes, on all cores, or one of them again with its trace.

mod arguments;
mod interrupt;
mod output;
mod seeds;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use parrot_simulator::{Profile, Source, Story};

use arguments::{Arguments, Only};
use interrupt::{INTERRUPTED, Interrupt};
use output::{Output, tell, thousands};

/// Whether all that was run of a profile is as it should be.
pub(crate) enum Verdict {
    Well,
    /// Told already. This is repeated when all is done: the command that shows it again, if there is one.
    Bad(String),
}

fn main() -> ExitCode {
    parrot_simulator::name_stories_that_panic();
    match run(&Arguments::read()) {
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
    let mut run = 0;
    let mut bad = Vec::new();
    for profile in profiles {
        // Who has left, or wants an end, does not wait for another profile.
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
        // What one profile said is far above, behind what another did.
        tell(format_args!("broken, in short:\n  {}", bad.join("\n  ")));
    }
    Ok(match interrupt.came() {
        _ if !bad.is_empty() => ExitCode::FAILURE,
        Some(_) => ExitCode::from(INTERRUPTED),
        None => ExitCode::SUCCESS,
    })
}

/// One story with its trace.
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
        tell(format_args!("{profile} {seed}: {failure}"));
        return Ok(Verdict::Bad(story.replay()));
    }
    let [turns, bytes] = [outcome.turns, outcome.bytes].map(thousands);
    writeln!(output, "{profile} {seed}: {turns} turns, {bytes} bytes, nothing broken")?;
    Ok(Verdict::Well)
}
