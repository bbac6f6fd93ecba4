//! Parrot measured against other echo servers: what `cargo xtask bench` runs.
//!
//! Every run has a server of its own and a load of its own. The runs of one suite alternate between the servers, so that
//! whatever else the machine is doing falls on all of them alike.

mod account;
mod arguments;
mod charts;
mod compare;
mod environment;
mod interrupt;
mod measure;
mod pin;
mod profile;
mod report;
mod results;
mod running;
mod say;
mod server;
mod suite;
mod table;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use parrot_load::Lacking;

use arguments::Arguments;
use environment::Environment;
use interrupt::{INTERRUPTED, Interrupt};
use measure::Measure;
use results::{Method, READABLE, Results, SCHEMA, ServerInfo, SuiteInfo};
use say::{reader_has_gone, say, warn};
use server::{Places, Server};
use suite::{SUITES, Suite};

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            if !reader_has_gone(&error) {
                warn(format_args!("bench: {error:#}"));
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    // Before any server is started, which inherits it, and before it is written down.
    parrot_load::raise_descriptor_limit();
    // Read first: a mistake in its name should not cost the time of a measurement.
    let before = arguments.compare.as_deref().map(read_results).transpose()?;
    let (programs, output) = (absolute(&arguments.programs)?, output(arguments)?);
    let mut all = server::all(&Places { programs: &programs, output: &output });
    all.extend(arguments.rivals.iter().cloned());
    if arguments.list {
        return match list(&all, &server::missing(&all, &programs)) {
            // Who has left has seen enough of it.
            Err(error) if !reader_has_gone(&error) => Err(error),
            _ => Ok(ExitCode::SUCCESS),
        };
    }
    arguments.check(&all).unwrap_or_else(|wrong| wrong_usage(wrong));
    if arguments.profile {
        profile::check()?;
    }
    let names: Vec<&str> = all.iter().map(|server| server.name.as_str()).collect();
    let wanted =
        |server: &&Server| arguments.wants(&server.name, &names) && (!arguments.profile || server.name == "parrot");
    let mut servers: Vec<Server> = all.iter().filter(wanted).cloned().collect();
    let missing = server::missing(&servers, &programs);
    if let Some((name, why)) = missing.iter().find(|(name, _)| arguments.only.contains(name)) {
        wrong_usage(format!("--only {name}: it cannot take part: {why}"));
    }
    servers.retain(|server| !missing.contains_key(&server.name));
    fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;

    let (interrupt, _guard) = Interrupt::take()?;
    let cores = pin::cores();
    let threads = cores.as_ref().map_or(1, |cores| cores.client.len().min(4));
    let (warmup, window) = (arguments.warmup(), arguments.window());
    let measure = Measure { cores, warmup, window, threads, errors: &output, interrupt: &interrupt };
    if arguments.profile {
        let suite = arguments.suites().into_iter().next().context("no suite to profile")?;
        let parrot = servers.iter().find(|server| server.name == "parrot").context("--profile is for parrot")?;
        return profile::flame_graph(&measure, &suite, parrot, &output);
    }

    let mut results = Results {
        schema: SCHEMA.into(),
        environment: Environment::read(&programs),
        method: Method {
            warmup: warmup.as_secs_f64(),
            window: window.as_secs_f64(),
            repeats: arguments.repeats(),
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
    };
    caution(&results)?;
    let told = measure_all(arguments, &measure, &servers, &mut results);
    finish(&results, &output)?; // also when nobody reads the tables any more
    told?;
    let slower = before.map(|before| compare(&before, &results)).transpose()?.unwrap_or(false);
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
    ServerInfo { name: server.name.clone(), about: server.about.clone(), receives: server.receives.clone() }
}

/// Runs every suite, and leaves what there is when it is stopped.
///
/// # Errors
///
/// If what it finds cannot be told.
fn measure_all(arguments: &Arguments, measure: &Measure<'_>, servers: &[Server], results: &mut Results) -> Result<()> {
    'suites: for suite in arguments.suites() {
        let field: Vec<&Server> = servers.iter().filter(|server| server.takes_part(suite.field)).collect();
        if field.is_empty() {
            continue;
        }
        say(format_args!("\n{}: {} ({})", suite.name, suite.title, suite.describe()))?;
        results.suites.push(SuiteInfo {
            name: suite.name.to_string(),
            title: suite.title.to_string(),
            load: suite.describe(),
            connections: suite.connections,
            idle: suite.idle,
            size: suite.size,
            pipeline: suite.pipeline,
            reconnect: suite.reconnect,
        });
        for repeat in 0..arguments.repeats() {
            // There and back again, so that nobody always comes after the same neighbour.
            let order: Vec<&&Server> =
                if repeat % 2 == 0 { field.iter().collect() } else { field.iter().rev().collect() };
            for server in order {
                let outcome = measure.run(&suite, server, &mut |_| {});
                if measure.interrupt.stop.stopped() {
                    // A run cut short is no run.
                    results.interrupted = true;
                    return say(table::text(results, &suite.name).trim_end());
                }
                if let Some(lacking) = outcome.as_ref().err().and_then(lacking) {
                    // It would be lacking in every other run too.
                    say(format_args!("  skipped: {lacking}"))?;
                    results.suites.pop();
                    results.skipped.insert(suite.name.to_string(), lacking.to_string());
                    continue 'suites;
                }
                let cell = results.cell_mut(&suite.name, &server.name);
                match outcome {
                    Ok(run) => cell.runs.push(run),
                    Err(error) => cell.errors.push(format!("{error:#}")),
                }
            }
        }
        say(table::text(results, &suite.name).trim_end())?;
    }
    Ok(())
}

/// What this machine has too little of for a load, if that is why it could not be run.
fn lacking(error: &anyhow::Error) -> Option<&Lacking> {
    match error.downcast_ref()? {
        parrot_load::Error::Capacity(lacking) => Some(lacking),
        _ => None,
    }
}

/// Says beforehand what will be missing or doubtful.
fn caution(results: &Results) -> Result<()> {
    for (name, why) in &results.missing {
        say(format_args!("without {name}: {why}"))?;
    }
    if results.method.server_cores.is_empty() {
        say("server and client share the cores: this system, or a single core, does not let them be kept apart")?;
    } else if results.method.same_core {
        say("server and client are on hardware threads of the same core, and slow each other down")?;
    }
    Ok(())
}

fn finish(results: &Results, output: &Path) -> Result<()> {
    let json = output.join("results.json");
    fs::write(&json, serde_json::to_vec(results)?).with_context(|| format!("cannot write {}", json.display()))?;
    let (page, charts) = report::html(results)?;
    let html = output.join("report.html");
    fs::write(&html, page).with_context(|| format!("cannot write {}", html.display()))?;
    let pictures = output.join("charts");
    fs::create_dir_all(&pictures).with_context(|| format!("cannot make {}", pictures.display()))?;
    for chart in charts {
        let picture = pictures.join(format!("{}.svg", chart.name));
        fs::write(&picture, chart.file).with_context(|| format!("cannot write {}", picture.display()))?;
    }
    let tables = output.join("tables.md");
    fs::write(&tables, table::markdown(results)).with_context(|| format!("cannot write {}", tables.display()))?;
    if results.interrupted {
        say("\ninterrupted: this is what there was")?;
    }
    say(format_args!("\n{}\n{}\n{}", json.display(), tables.display(), html.display()))
}

/// Prints how `after` differs from `before`, and says whether Parrot got slower, or nobody can tell.
fn compare(before: &Results, after: &Results) -> Result<bool> {
    let changes = compare::changes(before, after);
    say(format_args!("\ncompared with {} ({})", before.environment.commit, before.environment.date))?;
    if changes.is_empty() {
        say("  they have nothing in common: no server was measured under the same load in both")?;
        return Ok(true);
    }
    for change in changes.iter().filter(|change| change.is_noteworthy()) {
        say(format_args!("  {change}"))?;
    }
    if !changes.iter().any(compare::Change::is_noteworthy) {
        say(format_args!("  no change beyond the spread in {} figures", changes.len()))?;
    }
    for line in compare::one_sided(before, after).into_iter().chain(compare::cautions(before, after, &changes)) {
        say(format_args!("  {line}"))?;
    }
    Ok(changes.iter().any(compare::Change::is_regression))
}

fn read_results(path: &Path) -> Result<Results> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let results: Results =
        serde_json::from_slice(&text).with_context(|| format!("{} is not a results.json", path.display()))?;
    if !READABLE.contains(&results.schema.as_str()) {
        bail!("{} has format {}; this program reads {}", path.display(), results.schema, READABLE.join(" and "));
    }
    Ok(results)
}

/// A path that also holds in other directories: compilers are started in those of their sources.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot find {}", path.display()))
}

/// The directory of this run's files: beside the one that this program is in, unless the caller chooses. The servers'
/// programs may be elsewhere: for a profile they are built apart.
fn output(arguments: &Arguments) -> Result<PathBuf> {
    if let Some(output) = &arguments.output {
        return absolute(output);
    }
    let own = std::env::current_exe().context("cannot find this program's own directory")?;
    let target = own.parent().and_then(Path::parent).context("this program is in no target directory")?;
    Ok(target.join("bench").join(jiff::ZonedDateTime::now().strftime("%Y-%m-%d-%H%M%S").to_string()))
}

fn list(servers: &[Server], missing: &BTreeMap<String, String>) -> Result<()> {
    say("suites")?;
    for Suite { name, title, .. } in SUITES {
        say(format_args!("  {name:12} {title}"))?;
    }
    say("servers")?;
    for Server { name, about, .. } in servers {
        let missing = missing.get(name).map(|why| format!(" (cannot take part: {why})")).unwrap_or_default();
        say(format_args!("  {name:12} {about}{missing}"))?;
    }
    Ok(())
}
