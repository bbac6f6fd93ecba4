//! Parrot's tasks, started as `cargo xtask TASK`: one file a task, and [`TASKS`] lists them.

mod bench;
mod build;
mod cargo;
mod ci;
mod mutants;
mod rules;
mod run;
mod simulate;
mod steps;
mod torture;

use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;

use anyhow::Result;

/// What one task is called, how it is explained, and what it does with the arguments after its name.
struct Task {
    name: &'static str,
    summary: &'static str,
    run: fn(Vec<OsString>) -> Result<()>,
}

/// Every task. A new one is a file beside this one and an entry here.
const TASKS: &[Task] = &[
    Task { name: "build", summary: "build the release binaries and say where they are", run: build::task },
    Task { name: "run", summary: "build the release server, then become it: cargo xtask run -- ARGS", run: run::task },
    Task {
        name: "simulate",
        summary: "run the loop under a simulated kernel: --seeds N --profile P, or --replay SEED",
        run: simulate::task,
    },
    Task {
        name: "mutants",
        summary: "put faults into the loop, one at a time: the simulator has to find each",
        run: mutants::task,
    },
    Task {
        name: "bench",
        summary: "measure Parrot against other echo servers: cargo xtask bench --help",
        run: bench::task,
    },
    Task {
        name: "torture",
        summary: "put the server through real faults: cargo xtask torture --list, --only NAME, --seconds N",
        run: torture::task,
    },
    Task { name: "ci", summary: "check everything that must hold before a change lands", run: ci::task },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(name) = arguments.next() else {
        eprint!("{}", usage());
        return ExitCode::from(2);
    };
    if name == "help" || name == "--help" || name == "-h" {
        print!("{}", usage());
        return ExitCode::SUCCESS;
    }
    let Some(task) = TASKS.iter().find(|task| name == task.name) else {
        eprint!("there is no task {}\n\n{}", name.display(), usage());
        return ExitCode::from(2);
    };
    match (task.run)(arguments.collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {}: {error:#}", task.name);
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
    let mut usage = String::from("cargo xtask TASK\n\n");
    for Task { name, summary, .. } in TASKS {
        usage.push_str(&format!("  {name:<8} {summary}\n"));
    }
    usage
}
