//! `parrot-torture` runs the suite against one binary of the server. `cargo xtask torture` builds both and starts it.

use std::io::{self, Write as _, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser};
use parrot_testkit::output::warn;
use parrot_torture::{Conditions, Scenario, room_for_connections, run_all, scenarios};

const UNWRITABLE: &str = "cannot write to standard output";

/// Columns of a name in the list and of its story, which are 80 with the space between them.
const NAME: usize = 18;
const STORY: usize = 61;

/// Puts the parrot server through real faults on the real system and reports what did not hold
///
/// The exit code is 0 if all scenarios that could run passed, 1 if one failed and 2 on wrong usage.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask torture", version, max_term_width = 100)]
struct Arguments {
    /// The server's binary
    #[arg(long, value_name = "PATH", hide = true)]
    server: Option<PathBuf>,

    /// The folder for plots and logs
    #[arg(long, value_name = "DIR", hide = true)]
    output: Option<PathBuf>,

    /// Seconds per storm, and twelve times as many for the soak [default: 10, with --short 0.5]
    #[arg(long, value_name = "N", value_parser = seconds)]
    seconds: Option<Duration>,

    /// Run only the scenarios whose names begin like this (repeatable)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// Use fewer of everything, as cargo test does
    #[arg(long)]
    short: bool,

    /// Run the scenarios this many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    /// List the scenarios without running them
    #[arg(long)]
    list: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "want a number of seconds such as 10 or 0.5")?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() && seconds <= 86_400.0 => Ok(duration),
        _ => Err("want more than 0 seconds and at most a day".to_owned()),
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            warn(format_args!("torture: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let scenarios = match chosen(&arguments.only) {
        Ok(scenarios) => scenarios,
        Err(wrong) => Arguments::command().error(ErrorKind::ValueValidation, wrong).exit(),
    };
    if arguments.list {
        return match list(&scenarios) {
            // A reader that leaves early has seen enough.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context(UNWRITABLE),
            _ => Ok(ExitCode::SUCCESS),
        };
    }
    let (Some(server), Some(output)) = (arguments.server, arguments.output) else {
        let wrong = "--server and --output are needed, and `cargo xtask torture` sets both";
        Arguments::command().error(ErrorKind::MissingRequiredArgument, wrong).exit();
    };
    let usual = Duration::from_millis(if arguments.short { 500 } else { 10_000 });
    std::fs::create_dir_all(&output).with_context(|| format!("cannot create {}", output.display()))?;
    let conditions = Conditions {
        server,
        output,
        time: arguments.seconds.unwrap_or(usual),
        short: arguments.short,
        room: room_for_connections(),
    };
    let (mut passed, mut skipped, mut failed) = (0, 0, 0);
    for _ in 0..arguments.repeat {
        let tally = run_all(&scenarios, &conditions, &mut stdout()).context(UNWRITABLE)?;
        passed += tally.passed;
        skipped += tally.skipped.len();
        failed += tally.failed;
    }
    writeln!(stdout(), "{passed} passed, {skipped} skipped, {failed} failed").context(UNWRITABLE)?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list(scenarios: &[Scenario]) -> io::Result<()> {
    let mut output = stdout().lock();
    for Scenario { name, story, .. } in scenarios {
        let mut name = *name;
        for line in lines(story, STORY) {
            writeln!(output, "{name:<NAME$} {line}")?;
            name = "";
        }
    }
    output.flush()
}

/// Breaks a text between words into lines of at most `columns`.
fn lines(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::<String>::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn chosen(only: &[String]) -> Result<Vec<Scenario>, String> {
    let mut chosen = scenarios();
    if let Some(unknown) = only.iter().find(|name| !chosen.iter().any(|scenario| scenario.name.starts_with(*name))) {
        return Err(format!("there is no scenario {unknown}; --list shows them all"));
    }
    chosen.retain(|scenario| only.is_empty() || only.iter().any(|name| scenario.name.starts_with(name)));
    Ok(chosen)
}
