//! The `parrot-load` program: arguments in, a report out, and an exit code that says whether to believe it.

mod arguments;
mod screen;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use parrot_kqueue::{Change, Events, Kqueue, Signal, SignalGuard, Token};
use parrot_load::Stop;

fn main() -> ExitCode {
    let arguments = arguments::Arguments::parse();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("parrot-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &arguments::Arguments) -> anyhow::Result<ExitCode> {
    let mut plan = arguments.plan()?;
    let stop = Stop::default();
    let _guard = stop_on_interrupt(&stop)?;
    let mut screen = screen::Screen::new(&plan, arguments);
    plan.interval = screen.interval(arguments);
    let report = parrot_load::run(&plan, &stop, &mut screen)?;
    screen.finish();
    if let Some(path) = &arguments.hdr {
        std::fs::write(path, report.latencies.to_hgrm())
            .with_context(|| format!("cannot write the latencies to {}", path.display()))?;
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{report}");
    }
    let failed = report.failures.total() + report.unsent > arguments.max_errors;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Makes Ctrl-C end the run early, so that what was measured is still reported. A second one ends the program.
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
                    std::process::exit(130);
                }
                stop.stop();
            }
        }
    })?;
    Ok(guard)
}
