//! The command line.

use std::ops::Range;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use parrot_simulator::{Point, Profile};

/// No story has more peers than this.
const MOST_PEERS: usize = 10_000;

/// The text of `--help` after the options.
const AFTER_HELP: &str = "\
Without --profile, both profiles run one after the other, also with --replay. The report and the trace go to standard \
output, and failures go to standard error. Ctrl-C ends a run early and reports what was run until then. A second one \
ends the program at once.

Exit code: 0 if nothing is broken, 1 if a promise is broken or a point was never met, 2 on wrong usage, 130 if \
interrupted.";

/// Run Parrot's event loop on a simulated host.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask simulate", max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// How many seeds of each profile to run.
    #[arg(long, default_value_t = 100_000, value_parser = seeds)]
    pub(crate) seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0, value_parser = number)]
    pub(crate) first: u64,
    /// The family of systems: kqueue or epoll [default: both]
    #[arg(long)]
    pub(crate) profile: Option<Profile>,
    /// How many threads to use [default: one for each core]
    #[arg(long, value_parser = threads)]
    pub(crate) threads: Option<u16>,
    /// Run only this seed and print what happens.
    #[arg(long, value_name = "SEED", value_parser = number, conflicts_with_all = ["seeds", "first", "threads"])]
    pub(crate) replay: Option<u64>,
    /// With --replay, let only these peers take part, such as 0,3-5 or none.
    #[arg(long, requires = "replay", value_parser = peers)]
    pub(crate) peers: Option<Only<usize>>,
    /// With --replay, let no peer send more bytes than this.
    #[arg(long, requires = "replay", value_name = "BYTES", value_parser = number)]
    pub(crate) most_bytes: Option<u64>,
    /// With --replay, let only these faults happen, such as send-short-of-room,accept-forbidden or none.
    #[arg(long, requires = "replay", value_parser = faults)]
    pub(crate) faults: Option<Only<Point>>,
}

impl Arguments {
    /// Reads the command line. Ends the program if it is wrong or asks for help.
    pub(crate) fn read() -> Arguments {
        Arguments::parse().checked().unwrap_or_else(|error| error.exit())
    }

    fn checked(self) -> Result<Arguments, clap::Error> {
        if self.first.checked_add(self.seeds).is_none() {
            let advice = "there are too few seeds after --first: lower --first or --seeds";
            return Err(Arguments::command().error(ErrorKind::ValueValidation, advice));
        }
        Ok(self)
    }

    /// The seeds to run of each profile.
    pub(crate) fn range(&self) -> Range<u64> {
        self.first..self.first.saturating_add(self.seeds)
    }
}

fn seeds(argument: &str) -> Result<u64, &'static str> {
    argument.parse().ok().filter(|seeds| *seeds > 0).ok_or("want a number from 1 up")
}

fn number(argument: &str) -> Result<u64, &'static str> {
    argument.parse().map_err(|_| "want a number from 0 up")
}

fn threads(argument: &str) -> Result<u16, &'static str> {
    argument.parse().ok().filter(|threads| (1..=1024).contains(threads)).ok_or("want a number from 1 to 1024")
}

/// The items of a list that leaves all others out.
#[derive(Debug, Clone)]
pub(crate) struct Only<T>(pub(crate) Vec<T>);

/// Reads a list with commas, or `none`.
fn only<T>(argument: &str, read: impl Fn(&str) -> Result<Vec<T>, String>) -> Result<Only<T>, String> {
    let items = argument.split(',').filter(|_| argument != "none").map(read);
    Ok(Only(items.collect::<Result<Vec<_>, String>>()?.into_iter().flatten().collect()))
}

fn peers(argument: &str) -> Result<Only<usize>, String> {
    only(argument, |range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |digits: &str| digits.parse::<usize>();
        match (number(first), number(last)) {
            (Ok(first), Ok(last)) if first <= last && last <= MOST_PEERS => Ok((first..=last).collect()),
            _ => Err("want numbers such as 0,3-5, or none".to_owned()),
        }
    })
}

fn faults(argument: &str) -> Result<Only<Point>, String> {
    only(argument, |name| {
        let found = Point::FAULTS.iter().find(|fault| fault.argument() == name.replace(' ', "-"));
        let known = || Point::FAULTS.iter().map(|fault| fault.argument()).collect::<Vec<_>>().join(", ");
        found.map(|fault| vec![*fault]).ok_or_else(|| format!("there is no fault {name}, only {}", known()))
    })
}
