//! Parrot measured against other echo servers: what `cargo xtask bench` runs.
//!
//! Every run has a server of its own and a load of its own. The runs of one suite alternate between the servers, so that
//! whatever else the machine is doing falls on all of them alike.

mod account;
mod arguments;
mod charts;
mod compare;
mod environment;
mod measure;
mod peer;
mod pin;
mod profile;
mod report;
mod results;
mod server;
mod suite;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use parrot_kqueue::{Change, Events, Kqueue, Signal, SignalGuard, Token};
use parrot_load::Stop;

use arguments::Arguments;
use environment::Environment;
use measure::Measure;
use peer::{Found, Peer, Places};
use results::{Method, PeerInfo, Results, SCHEMA, SuiteInfo};
use suite::{SUITES, Suite};

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    // Read first: a mistake in its name should not cost the time of a measurement.
    let before = arguments.compare.as_deref().map(read_results).transpose()?;
    let output = output(arguments)?;
    let (mut peers, missing) = peers(arguments, &output)?;
    let names: Vec<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
    if arguments.list {
        list(&peers);
        return Ok(ExitCode::SUCCESS);
    }
    arguments.check(&names)?;
    fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
    let wanted: Vec<bool> = names.iter().map(|name| arguments.wants(name, &names)).collect();
    let mut wanted = wanted.iter();
    peers.retain(|_| wanted.next().is_some_and(|wanted| *wanted));

    let stop = Stop::default();
    let _guard = stop_on_interrupt(&stop)?;
    let cores = pin::cores();
    let threads = cores.as_ref().map_or(1, |cores| cores.client.len().min(4));
    let (warmup, window) = (arguments.warmup(), arguments.window());
    let measure = Measure { cores, warmup, window, threads, errors: &output, stop: &stop };
    if arguments.profile {
        let suite = arguments.suites().into_iter().next().context("no suite to profile")?;
        let parrot = peers.iter().find(|peer| peer.name == "parrot").context("--profile is for parrot")?;
        println!("{}", profile::flame_graph(&measure, &suite, parrot, &output)?.display());
        return Ok(ExitCode::SUCCESS);
    }

    let mut results = Results {
        schema: SCHEMA.into(),
        environment: Environment::read(),
        method: Method {
            warmup: warmup.as_secs_f64(),
            window: window.as_secs_f64(),
            repeats: arguments.repeats(),
            server_cores: measure.cores.iter().flat_map(|cores| cores.server.clone()).collect(),
            client_cores: measure.cores.iter().flat_map(|cores| cores.client.clone()).collect(),
            client_threads: threads,
        },
        suites: Vec::new(),
        peers: peers.iter().map(|peer| PeerInfo { name: peer.name.clone(), about: peer.about.clone() }).collect(),
        missing,
        cells: Vec::new(),
        interrupted: false,
    };
    caution(&results);
    measure_all(arguments, &measure, &peers, &mut results);
    finish(&results, &output)?;
    Ok(match before {
        Some(before) if compare(&before, &results) => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

/// Runs every suite, and leaves what there is when it is stopped.
fn measure_all(arguments: &Arguments, measure: &Measure<'_>, peers: &[Peer], results: &mut Results) {
    for suite in arguments.suites() {
        let field: Vec<&Peer> = peers.iter().filter(|peer| peer.takes_part(suite.field)).collect();
        if field.is_empty() {
            continue;
        }
        println!("\n{}: {} ({})", suite.name, suite.title, suite.describe());
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
            let order: Vec<&&Peer> =
                if repeat % 2 == 0 { field.iter().collect() } else { field.iter().rev().collect() };
            for peer in order {
                let outcome = measure.run(&suite, peer, &mut |_| {});
                if measure.stop.stopped() {
                    // A run cut short is no run.
                    results.interrupted = true;
                    print!("{}", table::text(results, &suite.name));
                    return;
                }
                let cell = results.cell_mut(&suite.name, &peer.name);
                match outcome {
                    Ok(run) => cell.runs.push(run),
                    Err(error) => cell.errors.push(format!("{error:#}")),
                }
            }
        }
        print!("{}", table::text(results, &suite.name));
    }
}

/// Says beforehand what will be missing or doubtful.
fn caution(results: &Results) {
    for (name, why) in &results.missing {
        println!("without {name}: {why}");
    }
    if results.method.server_cores.is_empty() {
        println!("server and client share the cores: this system, or a single core, does not let them be kept apart");
    }
    let environment = &results.environment;
    if let Some(load) = environment.load_average.filter(|load| *load > 0.5 * environment.cores as f64) {
        println!("the machine was busy before this began (load average {load}): expect a wide spread");
    }
}

fn finish(results: &Results, output: &Path) -> Result<()> {
    let json = output.join("results.json");
    fs::write(&json, serde_json::to_vec(results)?).with_context(|| format!("cannot write {}", json.display()))?;
    let html = output.join("report.html");
    fs::write(&html, report::html(results)?).with_context(|| format!("cannot write {}", html.display()))?;
    let tables = output.join("tables.md");
    fs::write(&tables, table::markdown(results)).with_context(|| format!("cannot write {}", tables.display()))?;
    if results.interrupted {
        println!("\ninterrupted: this is what there was");
    }
    println!("\n{}\n{}\n{}", json.display(), tables.display(), html.display());
    Ok(())
}

/// Prints how `after` differs from `before`, and says whether Parrot got slower.
fn compare(before: &Results, after: &Results) -> bool {
    let changes = compare::changes(before, after);
    println!("\ncompared with {} ({})", before.environment.commit, before.environment.date);
    for change in changes.iter().filter(|change| change.is_noteworthy()) {
        println!("  {change}");
    }
    if !changes.iter().any(compare::Change::is_noteworthy) {
        println!("  no change beyond the spread in {} figures", changes.len());
    }
    if let Some(caution) = compare::caution(before, after, &changes) {
        println!("  {caution}");
    }
    changes.iter().any(compare::Change::is_regression)
}

fn read_results(path: &Path) -> Result<Results> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let results: Results =
        serde_json::from_slice(&text).with_context(|| format!("{} is not a results.json", path.display()))?;
    if results.schema != SCHEMA {
        bail!("{} is of format {}, and this program reads {SCHEMA}", path.display(), results.schema);
    }
    Ok(results)
}

/// The directory of this run's files; absolute, because servers and compilers are started in directories of their own.
fn output(arguments: &Arguments) -> Result<PathBuf> {
    let output = arguments.output.clone().unwrap_or_else(|| {
        let target = arguments.programs.parent().unwrap_or(&arguments.programs);
        target.join("bench").join(jiff::ZonedDateTime::now().strftime("%Y-%m-%d-%H%M%S").to_string())
    });
    std::path::absolute(&output).with_context(|| format!("cannot find {}", output.display()))
}

/// Every server that can take part, and those that cannot with the reason.
fn peers(arguments: &Arguments, output: &Path) -> Result<(Vec<Peer>, BTreeMap<String, String>)> {
    let (mut peers, mut missing) = (Vec::new(), BTreeMap::new());
    for found in peer::all(&Places { programs: &arguments.programs, output }) {
        match found {
            Found::Peer(peer) => peers.push(peer),
            Found::Missing { name, why } => drop(missing.insert(name.to_string(), why)),
        }
    }
    for text in &arguments.peer {
        peers.push(Peer::custom(text)?);
    }
    Ok((peers, missing))
}

fn list(peers: &[Peer]) {
    println!("suites");
    for Suite { name, title, .. } in SUITES {
        println!("  {name:12} {title}");
    }
    println!("servers");
    for Peer { name, about, .. } in peers {
        println!("  {name:12} {about}");
    }
}

/// Ctrl-C ends the measurement and what there is gets written; a second one ends the program.
fn stop_on_interrupt(stop: &Stop) -> Result<SignalGuard> {
    let signals = [Signal::Interrupt, Signal::Terminate];
    let guard = SignalGuard::block(&signals)?;
    let kqueue = Kqueue::new()?;
    kqueue.apply(&signals.map(|signal| Change::add_signal(signal, Token(0)))).all()?;
    let stop = stop.clone();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut events = Events::with_capacity(signals.len());
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
