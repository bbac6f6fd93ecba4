//! `parrot-torture`: the suite against one binary of the server. `cargo xtask torture` builds both and starts this.

use std::io::{self, Write as _, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser};
use parrot_torture::{Conditions, Scenario, room_for_connections, run_all, scenarios};

/// What to say when the output goes nowhere.
const UNWRITABLE: &str = "cannot write to standard output";

/// Columns of a name in the list, and of its story: 80 with the space between them.
const NAME: usize = 18;
const STORY: usize = 61;

/// Real faults on the real system: puts a parrot server through them and says what did not hold.
///
/// Exit code 0: all that could run held. 1: something did not. 2: wrong usage.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask torture", version, max_term_width = 100)]
struct Arguments {
    /// The server's binary
    #[arg(long, value_name = "PATH", hide = true)]
    server: Option<PathBuf>,

    /// Where plots and logs go
    #[arg(long, value_name = "DIR", hide = true)]
    output: Option<PathBuf>,

    /// How long each storm lasts, in seconds; the soak lasts twelve times as long [default: 10, short form: 0.5]
    #[arg(long, value_name = "N", value_parser = seconds)]
    seconds: Option<Duration>,

    /// Only the scenarios whose names begin so; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// The short form, as part of cargo test: fewer of everything
    #[arg(long)]
    short: bool,

    /// Run them so many times, one after the other
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    /// List the scenarios and run none
    #[arg(long)]
    list: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "want a number of seconds, such as 10 or 0.5")?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() && seconds <= 86_400.0 => Ok(duration),
        _ => Err("want more than none and at most a day".to_owned()),
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            // eprintln! would panic when nobody reads it.
            let _ = writeln!(stderr(), "torture: {error:#}");
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
            // Who has left has seen enough of it.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context(UNWRITABLE),
            _ => Ok(ExitCode::SUCCESS),
        };
    }
    let (Some(server), Some(output)) = (arguments.server, arguments.output) else {
        let wrong = "this wants a server and a folder for the output: `cargo xtask torture` gives both";
        Arguments::command().error(ErrorKind::MissingRequiredArgument, wrong).exit();
    };
    let usual = Duration::from_millis(if arguments.short { 500 } else { 10_000 });
    std::fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
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

/// A text broken between words into lines of so many columns.
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
        return Err(format!("there is no scenario {unknown}: --list shows them"));
    }
    chosen.retain(|scenario| only.is_empty() || only.iter().any(|name| scenario.name.starts_with(name)));
    Ok(chosen)
}
