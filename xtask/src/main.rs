//! Parrot's tasks, started as `cargo xtask TASK`: one file a task, and [`TASKS`] lists them.

mod bench;
mod build;
mod cargo;
mod ci;
mod mutants;
mod rules;
mod run;
mod say;
mod simulate;
mod steps;
mod torture;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::process::ExitCode;

use anyhow::Result;

use say::{say, tell};

/// What one task is called, how it is explained, and what it does.
struct Task {
    name: &'static str,
    summary: &'static str,
    run: Run,
}

#[derive(Clone, Copy)]
enum Run {
    /// Takes no argument, so that its summary is all its help.
    Plain(fn() -> Result<()>),
    /// Passes the arguments after its name on, and `--help` among them.
    With(fn(Vec<OsString>) -> Result<()>),
}

/// Every task. A new one is a file beside this one and an entry here.
const TASKS: &[Task] = &[
    Task { name: "build", summary: "build the release binaries and say where they are", run: Run::Plain(build::task) },
    Task {
        name: "run",
        summary: "build the release server, then become it: cargo xtask run -- ARGS",
        run: Run::With(run::task),
    },
    Task {
        name: "simulate",
        summary: "run the loop under a simulated kernel: cargo xtask simulate --help",
        run: Run::With(simulate::task),
    },
    Task {
        name: "mutants",
        summary: "put faults into the loop, one at a time, for the simulator to find",
        run: Run::Plain(mutants::task),
    },
    Task {
        name: "bench",
        summary: "measure Parrot against other echo servers: cargo xtask bench --help",
        run: Run::With(bench::task),
    },
    Task {
        name: "torture",
        summary: "put the server through real faults: cargo xtask torture --help",
        run: Run::With(torture::task),
    },
    Task { name: "ci", summary: "check everything that must hold before a change lands", run: Run::Plain(ci::task) },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(name) = arguments.next() else {
        tell(usage());
        return ExitCode::from(2);
    };
    if name == "help" || asks_for_help(&name) {
        return exit_code("help", say(usage()));
    }
    let Some(task) = TASKS.iter().find(|task| name == task.name) else {
        tell(format_args!("there is no task {}\n\n{}", name.display(), usage()));
        return ExitCode::from(2);
    };
    exit_code(task.name, task.start(arguments.collect()))
}

impl Task {
    fn start(&self, arguments: Vec<OsString>) -> Result<()> {
        match (self.run, arguments.first()) {
            (Run::With(run), _) => run(arguments),
            (Run::Plain(run), None) => run(),
            (Run::Plain(_), Some(first)) if asks_for_help(first) => {
                say(format_args!("cargo xtask {}: {}", self.name, self.summary))
            }
            (Run::Plain(_), Some(first)) => {
                Err(wrong_usage(format!("{} takes no argument, and was given {}", self.name, first.display())))
            }
        }
    }
}

fn asks_for_help(argument: &OsStr) -> bool {
    argument == "--help" || argument == "-h"
}

/// What to end with after a task of this name; says what went wrong in it.
fn exit_code(name: &str, outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(format_args!("xtask {name}: {error:#}"));
            if error.is::<WrongUsage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Arguments that a task does not take.
#[derive(Debug)]
struct WrongUsage(String);

impl fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUsage {}

/// Ends the task with 2; `advice` says what would be right.
fn wrong_usage(advice: String) -> anyhow::Error {
    WrongUsage(advice).into()
}

fn usage() -> String {
    let mut usage = String::from("cargo xtask TASK\n");
    for Task { name, summary, .. } in TASKS {
        usage.push_str(&format!("\n  {name:<8} {summary}"));
    }
    usage
}
