//! `parrot-load merge`: adds the reports of several hosts up.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, ensure};
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
/// refused. Only --source may differ. If the windows were not open at the same time, the sum says so.
#[derive(Debug, Parser)]
#[command(name = "parrot-load merge", version, max_term_width = 100)]
pub(super) struct Merge {
    /// Reports of the same load, as --json prints them
    #[arg(value_name = "FILE", required = true)]
    reports: Vec<PathBuf>,
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

/// Adds the reports up and prints the sum.
///
/// # Errors
///
/// If a file is no report, or they are not of the same load.
pub(super) fn run(arguments: &Merge) -> Result<ExitCode> {
    let hdr = arguments.hdr.as_deref().map(|path| OutputFile::open(path, LATENCIES)).transpose()?;
    let read = arguments.reports.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
    let reports = read.iter().map(|(_, report)| report.clone());
    let sum = Report::merge(reports).map_err(|error| match error {
        Unmergeable::Differs(place, setting) => {
            let of = |place: usize| match (arguments.reports.get(place), read.get(place)) {
                (Some(path), Some((values, _))) => format!("{} in {}", values["load"][setting], path.display()),
                _ => String::new(),
            };
            anyhow!("only reports of the same load add up, and {setting} is {} but {}", of(0), of(place))
        }
        Unmergeable::Nothing => error.into(),
    })?;
    if let Some(hdr) = hdr {
        hdr.write(&sum.histograms.latency.to_hgrm())?;
    }
    print(&if arguments.json { serde_json::to_string_pretty(&sum)? } else { sum.to_string() })?;
    Ok(ExitCode::SUCCESS)
}

/// A report, and the same as plain values.
fn read(path: &Path) -> Result<(Value, Report)> {
    let name = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    let no_report = || format!("{name} is not a report that parrot-load --json has printed");
    let values: Value = serde_json::from_str(&text).with_context(no_report)?;
    let schema = values["schema"].as_str().unwrap_or_default();
    ensure!(
        schema == SCHEMA || !schema.starts_with("parrot-load/"),
        "{name} is in the format {schema} of another version, and this one reads {SCHEMA}"
    );
    let report = Report::deserialize(&values).with_context(no_report)?;
    Ok((values, report))
}
