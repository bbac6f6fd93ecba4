//! Measures Parrot against other echo servers, for `cargo xtask bench`.
//!
//! Every run has a fresh server and a fresh load. The runs of a suite alternate between the servers, so that whatever
//! else the machine is doing affects all of them alike. A fine measurement has many short rounds instead, of servers that
//! stay alive.

mod account;
mod arguments;
mod catalogue;
mod compare;
mod comparison;
mod environment;
mod estimate;
mod fine;
mod interrupt;
mod measure;
mod pin;
mod probe;
mod profile;
mod report;
mod results;
mod running;
mod server;
mod stopping;
mod suite;
mod table;
mod tool;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use parrot_load::Shortage;
use parrot_testkit::descriptors;
use parrot_testkit::output::{reader_has_left, say, warn};

use arguments::Arguments;
use catalogue::Places;
use environment::Environment;
use interrupt::{INTERRUPTED, Interrupt};
use measure::Measure;
use results::{Method, Results, SCHEMA, ServerInfo, SuiteInfo};
use server::Server;
use suite::Suite;
use table::Table;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            if !reader_has_left(&error) {
                warn(format_args!("bench: {error:#}"));
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    // This comes before the environment is recorded and before a server starts, because servers inherit the limit.
    descriptors::raise_limit();
    // This comes before the measurement, because a mistyped path should not cost the time of one.
    let before = arguments.compare.as_deref().map(Results::read).transpose()?;
    let (programs, output) = (absolute(&arguments.programs)?, output(arguments)?);
    let mut all = catalogue::all(&Places { programs: &programs, output: &output });
    all.extend(arguments.rivals.iter().cloned().map(|rival| Server { everywhere: arguments.fine, ..rival }));
    if arguments.list {
        return match list(&all, &tool::missing(&all, &programs)) {
            Err(error) if !reader_has_left(&error) => Err(error),
            _ => Ok(ExitCode::SUCCESS),
        };
    }
    arguments.check(&all).unwrap_or_else(|wrong| wrong_usage(wrong));
    if arguments.profile {
        profile::check()?;
    }
    let names: Vec<&str> = all.iter().map(|server| server.name.as_str()).collect();
    let wanted = |server: &&Server| arguments.wants(&server.name, &names);
    let mut servers: Vec<Server> = all.iter().filter(wanted).cloned().collect();
    let missing = tool::missing(&servers, &programs);
    if let Some((name, why)) = missing.iter().find(|(name, _)| arguments.only.contains(name)) {
        wrong_usage(format!("--only {name}: this server cannot take part: {why}"));
    }
    servers.retain(|server| !missing.contains_key(&server.name));
    fs::create_dir_all(&output).with_context(|| format!("cannot create {}", output.display()))?;

    let (interrupt, _guard) = Interrupt::take()?;
    let cores = pin::cores();
    let threads = cores.as_ref().map_or(1, |cores| cores.client.len().min(4));
    let loaded = all.iter().find(|server| server.name == "parrot").context("no Parrot to load")?.clone();
    let measure = Measure { cores, threads, loaded, errors: &output, interrupt: &interrupt };
    // In a fine measurement this is that of the first suite, and the results have the schedules of all of them.
    let (timing, repeats) = match arguments.suites().first().filter(|_| arguments.fine) {
        Some(first) => (arguments.timing_of_round(first), arguments.rounds(first)),
        None => (arguments.timing(), arguments.repeats()),
    };
    if arguments.profile {
        let suite = arguments.suites().into_iter().next().context("no suite to profile")?;
        return profile::flame_graphs(&measure, &suite, &servers, timing, &output);
    }

    let mut results = Results {
        schema: SCHEMA.into(),
        environment: Environment::read(&programs),
        method: Method {
            warmup: timing.warmup.as_secs_f64(),
            window: timing.window.as_secs_f64(),
            repeats,
            server_cores: measure.cores.iter().flat_map(|cores| cores.server.clone()).collect(),
            client_cores: measure.cores.iter().flat_map(|cores| cores.client.clone()).collect(),
            client_threads: threads,
            same_core: measure.cores.as_ref().is_some_and(|cores| cores.same_core),
        },
        suites: Vec::new(),
        servers: servers.iter().map(info).collect(),
        missing,
        skipped: BTreeMap::new(),
        cells: Vec::new(),
        interrupted: false,
        fine: None,
    };
    caution(&results)?;
    let measure_suites = if arguments.fine { fine::measure } else { measure_all };
    let measured = measure_suites(arguments, &measure, &servers, &mut results);
    finish(&results, &output)?; // even if standard output is closed
    measured?;
    let slower = before.map(|before| compare::print(&before, &results)).transpose()?.unwrap_or(false);
    let failure = results.failure();
    if let Some(failure) = &failure {
        warn(format_args!("bench: {failure}"));
    }
    Ok(match results.interrupted {
        true => ExitCode::from(INTERRUPTED),
        false if slower || failure.is_some() => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// Ends the program as clap does.
fn wrong_usage(wrong: impl Display) -> ! {
    Arguments::command().error(ErrorKind::ValueValidation, wrong).exit()
}

fn info(server: &Server) -> ServerInfo {
    let Server { name, about, receives, processes, .. } = server.clone();
    ServerInfo { name, about, receives, processes }
}

/// Runs every suite. After an interruption, `results` contains what was measured so far.
///
/// # Errors
///
/// If standard output cannot be written.
fn measure_all(arguments: &Arguments, measure: &Measure<'_>, servers: &[Server], results: &mut Results) -> Result<()> {
    'suites: for suite in arguments.suites() {
        let field: Vec<&Server> = servers.iter().filter(|server| server.takes_part(&suite)).collect();
        if field.is_empty() {
            continue;
        }
        say(format_args!("\n{}: {} ({})", suite.name, suite.title, suite.describe()))?;
        let info = SuiteInfo::of(&suite);
        results.suites.push(info.clone());
        for repeat in 0..arguments.repeats() {
            // The order alternates, so that no server always follows the same one.
            let order: Vec<&&Server> =
                if repeat % 2 == 0 { field.iter().collect() } else { field.iter().rev().collect() };
            for server in order {
                let outcome = measure.run(&suite, server, arguments.timing(), &mut |_| {});
                if measure.interrupt.stop.stopped() {
                    // The interrupted run does not count.
                    results.interrupted = true;
                    return say(Table::of(results, &info).text().trim_end());
                }
                if let Some(shortage) = outcome.as_ref().err().and_then(shortage) {
                    // Every other run of this suite would fail in the same way.
                    say(format_args!("  skipped: {shortage}"))?;
                    results.suites.pop();
                    results.skipped.insert(suite.name.to_string(), shortage.to_string());
                    continue 'suites;
                }
                let cell = results.cell_mut(&suite.name, &server.name);
                match outcome {
                    Ok(run) => cell.runs.push(run),
                    Err(error) => cell.errors.push(format!("{error:#}")),
                }
            }
        }
        say(Table::of(results, &info).text().trim_end())?;
    }
    Ok(())
}

/// The resource that this machine has too little of, if that is why the load could not be run.
fn shortage(error: &anyhow::Error) -> Option<&Shortage> {
    match error.downcast_ref()? {
        parrot_load::Error::Capacity(shortage) => Some(shortage),
        _ => None,
    }
}

/// Warns of servers that are missing and of figures that will be doubtful.
fn caution(results: &Results) -> Result<()> {
    for (name, why) in &results.missing {
        say(format_args!("without {name}: {why}"))?;
    }
    if results.method.server_cores.is_empty() {
        say("server and client share the cores, because there is only one or because this system cannot pin them")?;
    } else if results.method.same_core {
        say("server and client run on hardware threads of the same core and slow each other down")?;
    }
    Ok(())
}

/// Writes every file of the results and prints where they are.
fn finish(results: &Results, output: &Path) -> Result<()> {
    let (page, charts) = report::html(results)?;
    let json = write(output, "results.json", &serde_json::to_string(results)?)?;
    let tables = write(output, "tables.md", &table::markdown(results))?;
    let page = write(output, "report.html", &page)?;
    for chart in charts {
        write(&output.join("charts"), &format!("{}.svg", chart.name), &chart.file)?;
    }
    if results.interrupted {
        say("\ninterrupted; these are the results so far")?;
    }
    say(format_args!("\n{}\n{}\n{}", json.display(), tables.display(), page.display()))
}

fn write(directory: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = directory.join(name);
    let written = fs::create_dir_all(directory).and_then(|()| fs::write(&path, text));
    written.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Makes a path absolute, because compilers are started in the directories of their sources.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot find {}", path.display()))
}

/// The directory for the files of this measurement.
///
/// By default it is in the target directory of this program. The servers may be built elsewhere, as for a profile.
fn output(arguments: &Arguments) -> Result<PathBuf> {
    if let Some(output) = &arguments.output {
        return absolute(output);
    }
    let own = std::env::current_exe().context("cannot find the directory of this program")?;
    let built = own.parent().and_then(Path::parent).context("this program is not in a target directory")?;
    // Programs for a target that was named are one level lower. Cargo marks both directories as caches.
    let target = built.parent().filter(|above| above.join("CACHEDIR.TAG").exists()).unwrap_or(built);
    Ok(target.join("bench").join(jiff::ZonedDateTime::now().strftime("%Y-%m-%d-%H%M%S").to_string()))
}

fn list(servers: &[Server], missing: &BTreeMap<String, String>) -> Result<()> {
    say("suites")?;
    for Suite { name, title, .. } in Suite::all() {
        say(format_args!("  {name:12} {title}"))?;
    }
    say("servers")?;
    for Server { name, about, .. } in servers {
        let missing = missing.get(name).map(|why| format!(" (cannot take part: {why})")).unwrap_or_default();
        say(format_args!("  {name:12} {about}{missing}"))?;
    }
    Ok(())
}
