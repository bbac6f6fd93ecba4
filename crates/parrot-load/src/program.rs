//! The `parrot-load` program. It turns arguments into a plan, runs it, and prints the report.

mod arguments;
pub mod manual;
mod screen;
mod target;

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use parrot_kqueue::{Change, Events, Kqueue, Signal, SignalGuard, Token};

use self::arguments::Arguments;
use self::screen::Screen;
use crate::{Mark, Plan, Stop};

/// The exit code of a program that Ctrl-C ended, as shells report it.
const INTERRUPTED: u8 = 130;

/// Runs the program to its end.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    // Like the errors that clap finds itself, with the usage and exit code 2.
    let usage = |error: &dyn Display| Arguments::command().error(ErrorKind::ValueValidation, error).exit();
    arguments.check().unwrap_or_else(|error| usage(&error));
    let ended = arguments.plan().and_then(|plan| {
        plan.check().unwrap_or_else(|error| usage(&error));
        measure(plan, &arguments)
    });
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

fn measure(mut plan: Plan, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let refused = |path: &std::path::PathBuf| format!("cannot write the latencies to {}", path.display());
    // Opened before the run, so that a mistake in the path does not cost the measurement. The file keeps its contents
    // until there are latencies to replace them.
    let open = |path| File::options().write(true).create(true).truncate(false).open(path);
    let hdr = arguments.hdr.as_ref().map(|path| open(path).with_context(|| refused(path)).map(|file| (file, path)));
    let hdr = hdr.transpose()?;
    let stop = Stop::default();
    let _guard = stop_on_interrupt(&stop)?;
    let mut screen = Screen::new(&plan, arguments);
    plan.interval = screen.interval(&plan);
    let report = crate::run::run(&plan, &stop, &mut screen);
    screen.finish();
    let report = report?;
    let nothing_measured = report.marks.contains(&Mark::NothingMeasured);
    if let Some((mut file, path)) = hdr.filter(|_| !nothing_measured) {
        // A pipe or a device has no length.
        if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            file.set_len(0).with_context(|| refused(path))?;
        }
        file.write_all(report.latencies.to_hgrm().as_bytes()).with_context(|| refused(path))?;
    }
    print(&if arguments.json { serde_json::to_string_pretty(&report)? } else { report.to_string() })?;
    let lost = report.datagrams.map_or(0.0, |datagrams| datagrams.lost_percent);
    let failed = report.failures.total() + report.unsent > arguments.max_errors || lost > arguments.max_loss;
    Ok(match failed {
        true => ExitCode::FAILURE,
        false if report.marks.contains(&Mark::StoppedEarly) => ExitCode::from(INTERRUPTED),
        false if nothing_measured => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// Writes the report to standard output. A closed pipe is no error.
fn print(report: &str) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    match writeln!(output, "{report}").and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write the report to standard output"),
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
