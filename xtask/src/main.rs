//! Parrot's tasks, started as `cargo xtask TASK`. Each is a file, and [`TASKS`] lists them.

mod bench;
mod build;
mod cargo;
mod ci;
mod dist;
mod man;
mod mutants;
mod order;
mod program;
mod rules;
mod run;
mod say;
mod simulate;
mod steps;
mod torture;
mod usage;

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use anyhow::Result;

use say::{say, warn};
use usage::WrongUsage;

/// The name, the summary and the function of a task.
struct Task {
    name: &'static str,
    summary: &'static str,
    run: Run,
}

#[derive(Clone, Copy)]
enum Run {
    /// Takes no arguments. Its help is its summary.
    Plain(fn() -> Result<()>),
    /// Receives the arguments after its name, including `--help`.
    With(fn(Vec<OsString>) -> Result<()>),
}

/// Every task. A new one needs a file and an entry here.
const TASKS: &[Task] = &[
    Task {
        name: "build",
        summary: "build the release binaries and print where they are",
        run: Run::Plain(build::task),
    },
    Task {
        name: "run",
        summary: "build the release server and run it (cargo xtask run -- ARGS)",
        run: Run::With(run::task),
    },
    Task {
        name: "simulate",
        summary: "run the loop on a simulated host (cargo xtask simulate --help)",
        run: Run::With(simulate::task),
    },
    Task {
        name: "mutants",
        summary: "plant faults for the simulator (cargo xtask mutants --help)",
        run: Run::With(mutants::task),
    },
    Task {
        name: "bench",
        summary: "measure Parrot against its rivals (cargo xtask bench --help)",
        run: Run::With(bench::task),
    },
    Task {
        name: "torture",
        summary: "run the server under real faults (cargo xtask torture --help)",
        run: Run::With(torture::task),
    },
    Task {
        name: "man",
        summary: "write manual pages and shell completions (cargo xtask man --help)",
        run: Run::With(man::task),
    },
    Task {
        name: "order",
        summary: "write which functions run, for the linker to put together",
        run: Run::Plain(order::task),
    },
    Task { name: "dist", summary: "build and pack what a release has, below target/dist", run: Run::Plain(dist::task) },
    Task { name: "ci", summary: "check everything that must hold before a change lands", run: Run::Plain(ci::task) },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(name) = arguments.next() else {
        warn(usage());
        return ExitCode::from(2);
    };
    if name == "help" || asks_for_help(&name) {
        return exit_code("help", say(usage()));
    }
    let Some(task) = TASKS.iter().find(|task| name == task.name) else {
        warn(format_args!("there is no task {}\n\n{}", name.display(), usage()));
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
                Err(WrongUsage(format!("{} takes no arguments, but got {}", self.name, first.display())).into())
            }
        }
    }
}

fn asks_for_help(argument: &OsStr) -> bool {
    argument == "--help" || argument == "-h"
}

/// The exit code for the outcome of the task called `name`. Prints its error.
fn exit_code(name: &str, outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            warn(format_args!("xtask {name}: {error:#}"));
            if error.is::<WrongUsage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

fn usage() -> String {
    let mut usage = String::from("cargo xtask TASK\n");
    for Task { name, summary, .. } in TASKS {
        usage.push_str(&format!("\n  {name:<9} {summary}"));
    }
    usage
}
