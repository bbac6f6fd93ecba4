//! The `parrot-load` program. It turns arguments into a plan, runs it, and prints the report.

mod arguments;
mod file;
mod find;
mod history;
mod live;
pub mod manual;
mod merge;
mod page;
mod screen;
mod signals;
mod stream;
mod target;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use self::arguments::Arguments;
use self::file::OutputFile;
use self::history::{History, Recorder};
use self::live::{FRAME, Live, Terminal};
use self::merge::Merge;
use self::screen::{LINE, REFRESH, Screen};
use self::stream::{Form, Stream};
use crate::{Mark, Plan, Report, Stop, Watch};

/// The exit code of a program that Ctrl-C ended, as shells report it.
const INTERRUPTED: u8 = 130;

/// What `--hdr` writes.
const LATENCIES: &str = "the latencies";
const NO_TERMINAL: &str = "cannot use the terminal on standard error";
const UNPRINTED: &str = "cannot write the report to standard output";

/// Runs the program to its end.
pub fn run() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == merge::WORD) {
        let arguments = std::iter::once("parrot-load merge".into()).chain(std::env::args_os().skip(2));
        return ended(merge::run(&Merge::parse_from(arguments)));
    }
    let arguments = Arguments::parse();
    // Like the errors that clap finds itself, with the usage and exit code 2.
    let usage = |error: &dyn Display| Arguments::command().error(ErrorKind::ValueValidation, error).exit();
    arguments.check().unwrap_or_else(|error| usage(&error));
    ended(arguments.plan().and_then(|plan| {
        plan.check().unwrap_or_else(|error| usage(&error));
        measure(plan, &arguments)
    }))
}

/// The exit code, after the error was printed if there is one.
fn ended(ended: anyhow::Result<ExitCode>) -> ExitCode {
    match ended {
        Ok(code) => code,
        Err(error) => {
            // If standard error is closed, the exit code still reports the failure.
            let _ = writeln!(io::stderr(), "parrot-load: {error:#}");
            match error.downcast_ref() {
                Some(crate::Error::Stopped) => ExitCode::from(INTERRUPTED),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn measure(plan: Plan, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let hdr = arguments.hdr.as_deref().map(|path| OutputFile::open(path, LATENCIES)).transpose()?;
    let stop = Stop::default();
    let terminal = arguments.live.then(Terminal::open).transpose().context(NO_TERMINAL)?;
    let _guard = signals::stop_on_interrupt(&stop, terminal.as_ref())?;
    if arguments.find_rate {
        return find::run(plan, arguments, &stop, terminal);
    }
    let page = arguments.page()?;
    let mut history = page.as_ref().map(|_| History::default());
    let run = Run { plan, stop, history: &mut history };
    let report = match (arguments.stream(), terminal) {
        (Some(form), _) => follow_in_lines(run, form)?,
        (None, Some(terminal)) => follow_live(run, arguments, terminal)?,
        (None, None) => follow_on_screen(run, arguments)?,
    };
    if let Some((page, history)) = page.zip(history) {
        page.write(&page::of_run(&report, &history)?)?;
    }
    let nothing_measured = report.marks.contains(&Mark::NothingMeasured);
    if let Some(hdr) = hdr.filter(|_| !nothing_measured) {
        hdr.write(&report.histograms.latency.to_hgrm())?;
    }
    let lost = report.datagrams.map_or(0.0, |datagrams| datagrams.lost_percent);
    let failed = report.failures.total() + report.unsent > arguments.max_errors || lost > arguments.max_loss;
    Ok(match failed {
        true => ExitCode::FAILURE,
        false if report.marks.contains(&Mark::StoppedEarly) => ExitCode::from(INTERRUPTED),
        false if nothing_measured => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// A plan that is run while somebody watches.
struct Run<'a> {
    plan: Plan,
    stop: Stop,
    /// Keeps the course of the run, if that is wanted.
    history: &'a mut Option<History>,
}

impl Run<'_> {
    fn run(&mut self, watch: &mut dyn Watch) -> Result<Report, crate::Error> {
        match self.history {
            None => crate::run::run(&self.plan, &self.stop, watch),
            Some(history) => {
                self.plan.interval.get_or_insert(REFRESH);
                crate::run::run(&self.plan, &self.stop, &mut Recorder { watch, history })
            }
        }
    }
}

/// Runs the plan with its progress on standard error, and prints the report.
fn follow_on_screen(mut run: Run<'_>, arguments: &Arguments) -> anyhow::Result<Report> {
    let mut screen = Screen::new(&run.plan, arguments);
    run.plan.interval = screen.interval(&run.plan);
    let report = run.run(&mut screen);
    screen.finish();
    conclude(report?, arguments)
}

/// Runs the plan on the whole terminal, gives that back, and prints the report.
fn follow_live(mut run: Run<'_>, arguments: &Arguments, terminal: Arc<Terminal>) -> anyhow::Result<Report> {
    run.plan.interval = Some(FRAME);
    let mut live = Live::start(terminal, &run.plan, &run.stop).context(NO_TERMINAL)?;
    let report = run.run(&mut live);
    drop(live);
    conclude(report?, arguments)
}

/// Runs the plan and prints a line for each interval, and one for the whole.
fn follow_in_lines(mut run: Run<'_>, form: Form) -> anyhow::Result<Report> {
    run.plan.interval.get_or_insert(LINE);
    let mut stream = Stream::new(form);
    match run.run(&mut stream) {
        Ok(report) => stream.end(&report).context(UNPRINTED).map(|()| report),
        Err(error) => {
            stream.fail(&error.to_string());
            Err(error.into())
        }
    }
}

/// Prints the report.
fn conclude(report: Report, arguments: &Arguments) -> anyhow::Result<Report> {
    print(&if arguments.json { serde_json::to_string_pretty(&report)? } else { report.to_string() })?;
    Ok(report)
}

/// Writes the report to standard output. A closed pipe is no error.
fn print(report: &str) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    match writeln!(output, "{report}").and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context(UNPRINTED),
    }
}
