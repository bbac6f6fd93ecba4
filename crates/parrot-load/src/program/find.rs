//! `--find-rate`: prints each step of the search, and what it has found.

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::arguments::Arguments;
use super::file::OutputFile;
use super::live::{FRAME, Lent, Live, Terminal};
use super::{INTERRUPTED, NO_TERMINAL, UNPRINTED, page, print};
use crate::search::{chart, complete, ends};
use crate::{Objective, Plan, Step, Stop};

/// How long a step measures, unless `--duration` says otherwise.
pub(super) const DURATION: Duration = Duration::from_secs(3);

/// Searches and prints.
///
/// # Errors
///
/// If a step cannot take place, or the result cannot be written.
pub(super) fn run(
    mut plan: Plan,
    arguments: &Arguments,
    stop: &Stop,
    terminal: Option<Arc<Terminal>>,
) -> Result<ExitCode> {
    let picture = arguments.chart.as_deref().map(|path| OutputFile::open(path, "the chart")).transpose()?;
    let page = arguments.page()?;
    let progress = !(arguments.json || arguments.quiet);
    let mut written = Ok(());
    let mut row = |line: &dyn std::fmt::Display| {
        let mut output = io::stdout().lock();
        if progress && written.is_ok() {
            written = writeln!(output, "{line}").and_then(|()| output.flush());
        }
    };
    if terminal.is_none() {
        row(&Step::HEADINGS);
    }
    let objectives = &arguments.objective;
    let found = match terminal {
        None => crate::find_rate(&plan, objectives, stop, &mut (), &mut |step| row(step))?,
        Some(terminal) => {
            plan.interval = Some(FRAME);
            let live = Live::search(terminal, &plan, stop, complete(objectives)).context(NO_TERMINAL)?;
            let (live, mut steps) = (RefCell::new(live), Vec::new());
            let mut stepped = |step: &Step| {
                steps.push(step.clone());
                live.borrow_mut().stepped(step, ends(&plan, &steps));
            };
            let found = crate::find_rate(&plan, objectives, stop, &mut Lent(&live), &mut stepped);
            drop(live);
            // The screen had the terminal until now.
            row(&Step::HEADINGS);
            steps.iter().for_each(|step| row(step));
            found?
        }
    };
    written
        .or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
        .context(UNPRINTED)?;
    if let Some(file) = picture {
        file.write(&chart::chart(&found)?.file)?;
    }
    if let Some(file) = page {
        file.write(&page::of_search(&found)?)?;
    }
    print(&if arguments.json { serde_json::to_string_pretty(&found)? } else { found.to_string() })?;
    Ok(match found.rate {
        _ if stop.stopped() => ExitCode::from(INTERRUPTED),
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    })
}

/// Reads an objective: `p99=10ms`, `p99.9=50ms` or `errors=0.1%`.
pub(super) fn objective(text: &str) -> Result<Objective, String> {
    const FORM: &str = "expected a percentile and its longest time, or a share of errors, such as p99=10ms, p99.9=50ms or \
                        errors=0.1%";
    let (what, bound) = text.split_once('=').ok_or(FORM)?;
    if what == "errors" {
        let percent: Option<f64> = bound.strip_suffix('%').and_then(|percent| percent.trim_end().parse().ok());
        let percent = percent.filter(|percent| (0.0..100.0).contains(percent));
        return percent.map(|percent| Objective::Errors(percent / 100.0)).ok_or_else(|| FORM.to_owned());
    }
    let percentile: Option<f64> = what.strip_prefix('p').and_then(|percentile| percentile.parse().ok());
    let percentile = percentile.filter(|percentile| *percentile > 0.0 && *percentile <= 99.999).ok_or(FORM)?;
    let at_most = parrot_values::duration(bound)?;
    Ok(Objective::Percentile { percentile, at_most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objectives_are_read_as_they_are_written() {
        for text in ["p99=10ms", "p99.9=1s", "p50=250µs", "errors=0.1%", "errors=0%"] {
            assert_eq!(objective(text).map(|objective| objective.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "p99", "p100=1s", "p0=1s", "p-1=1s", "pNaN=1s", "p99=10", "q99=1s", "errors=1", "errors=100%"]
        {
            assert!(objective(text).is_err(), "{text}");
        }
    }
}
