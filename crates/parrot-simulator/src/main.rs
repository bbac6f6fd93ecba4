//! `cargo xtask simulate`: as many stories as one likes, on all cores, or one of them again with its trace.

mod arguments;
mod seeds;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use parrot_simulator::{Profile, Source, Story};

use arguments::{Arguments, Only};

fn main() -> ExitCode {
    parrot_simulator::name_stories_that_panic();
    let arguments = Arguments::parse();
    let profiles = arguments.profile.map_or(Profile::ALL.to_vec(), |profile| vec![profile]);
    let mut all_well = true;
    for profile in profiles {
        let result = match arguments.replay {
            Some(seed) => replay(seed, profile, &arguments),
            None => seeds::run(profile, &arguments),
        };
        if let Err(error) = result {
            eprintln!("{error:#}");
            all_well = false;
        }
    }
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One story with its trace.
fn replay(seed: u64, profile: Profile, arguments: &Arguments) -> Result<()> {
    let story = Story {
        profile,
        source: Source::Seed(seed),
        faults: arguments.faults.clone().map(|Only(faults)| faults),
        peers: arguments.peers.clone().map(|Only(peers)| peers),
        most_bytes: arguments.most_bytes,
    };
    println!("{}", story.described());
    let outcome = story.run(true);
    for line in &outcome.trace {
        println!("{line}");
    }
    match outcome.failure {
        Some(failure) => bail!("{profile} {seed}: {failure}"),
        None => println!("{profile} {seed}: {} turns, {} bytes, nothing broken", outcome.turns, outcome.bytes),
    }
    Ok(())
}
