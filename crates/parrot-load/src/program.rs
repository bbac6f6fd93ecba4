//! The `parrot-load` program. It turns arguments into a plan, runs it, and prints the report.

mod arguments;
mod file;
mod find;
pub mod manual;
mod merge;
mod screen;
mod stream;
mod target;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use parrot_kqueue::{Change, Events, Kqueue, Signal, SignalGuard, Token};

use self::arguments::Arguments;
use self::file::OutputFile;
use self::merge::Merge;
use self::screen::{LINE, Screen};
use self::stream::{Form, Stream};
use crate::{Mark, Plan, Report, Stop};

/// The exit code of a program that Ctrl-C ended, as shells report it.
const INTERRUPTED: u8 = 130;

/// What `--hdr` writes.
const LATENCIES: &str = "the latencies";
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
    let _guard = stop_on_interrupt(&stop)?;
    if arguments.find_rate {
        return find::run(&plan, arguments, &stop);
    }
    let report = match arguments.stream() {
        Some(form) => follow_in_lines(plan, form, &stop)?,
        None => follow_on_screen(plan, arguments, &stop)?,
    };
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

/// Runs the plan with its progress on standard error, and prints the report.
fn follow_on_screen(mut plan: Plan, arguments: &Arguments, stop: &Stop) -> anyhow::Result<Report> {
    let mut screen = Screen::new(&plan, arguments);
    plan.interval = screen.interval(&plan);
    let report = crate::run::run(&plan, stop, &mut screen);
    screen.finish();
    let report = report?;
    print(&if arguments.json { serde_json::to_string_pretty(&report)? } else { report.to_string() })?;
    Ok(report)
}

/// Runs the plan and prints a line for each interval, and one for the whole.
fn follow_in_lines(mut plan: Plan, form: Form, stop: &Stop) -> anyhow::Result<Report> {
    plan.interval.get_or_insert(LINE);
    let mut stream = Stream::new(form);
    match crate::run::run(&plan, stop, &mut stream) {
        Ok(report) => stream.end(&report).context(UNPRINTED).map(|()| report),
        Err(error) => {
            stream.fail(&error.to_string());
            Err(error.into())
        }
    }
}

/// Writes the report to standard output. A closed pipe is no error.
fn print(report: &str) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    match writeln!(output, "{report}").and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context(UNPRINTED),
    }
}

/// Makes Ctrl-C stop the run, which then reports what it has measured. A second Ctrl-C ends the program.
fn stop_on_interrupt(stop: &Stop) -> anyhow::Result<SignalGuard> {
    let guard = SignalGuard::block(&[Signal::Interrupt, Signal::Terminate])?;
    let kqueue = Kqueue::new()?;
    kqueue
        .apply(&[Change::add_signal(Signal::Interrupt, Token(0)), Change::add_signal(Signal::Terminate, Token(0))])
        .all()?;
    let stop = stop.clone();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut events = Events::with_capacity(2);
        loop {
            if kqueue.wait(&mut events, None).is_ok() && !events.is_empty() {
                if stop.stopped() {
                    std::process::exit(INTERRUPTED.into());
                }
                stop.stop();
            }
        }
    })?;
    Ok(guard)
}
