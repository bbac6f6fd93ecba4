//! `parrot-load merge`: adds the reports of several hosts up.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::Parser;
use serde::Deserialize as _;
use serde_json::Value;

use super::file::OutputFile;
use super::{LATENCIES, print};
use crate::report::SCHEMA;
use crate::{Report, Unmergeable};

/// Adds reports of the same load up, such as those of several hosts.
///
/// Counts are added, and so are the histograms, so percentiles are those of all messages. Reports of different loads are
/// refused. Only --source may differ. A report that is there twice is refused as well, but a sum and a report that is part
/// of it are not told apart from two hosts, so give one of the two only. If the windows were not open at the same time, the
/// sum says so.
#[derive(Debug, Parser)]
#[command(name = "parrot-load merge", version, max_term_width = 100)]
pub(super) struct Merge {
    /// Files of reports of the same load, as --json prints them, or - for standard input. A file may have several
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Print the sum as JSON
    #[arg(long)]
    json: bool,
    /// Write the latencies of all to this file, as an HdrHistogram percentile distribution
    #[arg(long, value_name = "FILE")]
    hdr: Option<PathBuf>,
}

/// The word after which the arguments are those of [`Merge`].
///
/// It is no subcommand of clap, because then the completions for fish no longer offer the values of options. Nothing is
/// lost by that, because a server's address is never a word alone.
pub(super) const WORD: &str = "merge";

/// A report with where it was read, and the same as plain values.
struct Source {
    name: String,
    values: Value,
    report: Report,
}

/// Adds the reports up and prints the sum.
///
/// # Errors
///
/// If a file is no report, or they are not of the same load.
pub(super) fn run(arguments: &Merge) -> Result<ExitCode> {
    let hdr = arguments.hdr.as_deref().map(|path| OutputFile::open(path, LATENCIES)).transpose()?;
    let mut sources = Vec::new();
    for path in &arguments.files {
        sources.extend(read(path)?);
    }
    let sum = Report::merge(sources.iter().map(|source| source.report.clone())).map_err(|error| match error {
        Unmergeable::Differs(place, setting) => {
            let of = |place: usize| match sources.get(place) {
                Some(Source { name, values, .. }) => format!("{} in {name}", values["load"][setting]),
                None => String::new(),
            };
            anyhow!("only reports of the same load add up, and {setting} is {} but {}", of(0), of(place))
        }
        Unmergeable::Twice(one, other) => {
            let [one, other] = [one, other].map(|place| sources.get(place).map_or("", |source| source.name.as_str()));
            anyhow!("{one} and {other} are the same report, and its messages would count twice: leave one out")
        }
        Unmergeable::Nothing => error.into(),
    })?;
    if let Some(hdr) = hdr {
        hdr.write(&sum.histograms.latency.to_hgrm())?;
    }
    print(&if arguments.json { serde_json::to_string_pretty(&sum)? } else { sum.to_string() })?;
    Ok(ExitCode::SUCCESS)
}

/// The reports of a file, which come one after the other.
fn read(path: &Path) -> Result<Vec<Source>> {
    let input = path == Path::new("-");
    let file = if input { "standard input".to_owned() } else { path.display().to_string() };
    let text = if input { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) };
    let text = text.with_context(|| format!("cannot read {file}"))?;
    let values: Vec<Value> =
        serde_json::Deserializer::from_str(&text).into_iter().collect::<Result<_, _>>().map_err(|error| {
            anyhow!("{file} is not all reports that parrot-load --json has printed: {}", at(&text, &error))
        })?;
    ensure!(!values.is_empty(), "{file} has no report, so the run that was to print it has failed or is not over");
    let alone = values.len() == 1;
    let named = (1..).zip(values).map(|(number, values)| {
        let name = if alone { file.clone() } else { format!("report {number} of {file}") };
        source(name, values)
    });
    named.collect()
}

/// Where the text stops to be JSON. What a failed run has said may stand there.
fn at(text: &str, error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "the last one is cut off".into();
    }
    let line: String = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default().chars().take(200).collect();
    format!("line {} is {line:?}", error.line())
}

fn source(name: String, values: Value) -> Result<Source> {
    let schema = values["schema"].as_str().unwrap_or_default();
    ensure!(
        schema == SCHEMA || !schema.starts_with("parrot-load/"),
        "{name} is in the format {schema} of another version, and this one reads {SCHEMA}"
    );
    match Report::deserialize(&values) {
        Ok(report) => Ok(Source { name, values, report }),
        Err(_) => bail!("{name} is not a report that parrot-load --json has printed"),
    }
}
