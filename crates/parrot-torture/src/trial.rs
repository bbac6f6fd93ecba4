//! Runs a scenario: once until the storm ends and everything is back at rest, and once with SIGTERM in the middle.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use parrot_testkit::stream::Random;
use parrot_testkit::usage::Usage;
use parrot_testkit::wait_for;
use rustix::process::Signal;

use crate::figures::{size, time};
use crate::healthy::Healthy;
use crate::launch::{Launch, Log};
use crate::peer::{Peer, Sockets, Trouble};
use crate::scenario::{Scenario, Storm, rest};
use crate::server::{Server, terminate};

/// The longest drain. The server's drain timeout is a second, and a busy machine adds to it.
const DRAIN: Duration = Duration::from_secs(10);

/// Memory that may stay with the server after a storm, in its tables and its allocator.
const KEPT: u64 = 8 << 20;

/// The conditions of a run, for all its scenarios.
#[derive(Debug)]
pub struct Conditions {
    /// The server's binary.
    pub server: PathBuf,
    /// The folder for logs and plots.
    pub output: PathBuf,
    /// How long a storm lasts.
    pub time: Duration,
    /// Whether this is the short form, with fewer of everything.
    pub short: bool,
    /// How many connections the suite may have open itself.
    pub room: usize,
}

/// The result of a scenario.
#[derive(Debug)]
pub enum Outcome {
    /// Everything held. These are the figures.
    Passed(Vec<String>),
    /// It cannot run here, for this reason.
    Skipped(String),
}

/// Runs both acts of a scenario.
///
/// # Errors
///
/// If something did not hold.
pub fn run(scenario: &Scenario, conditions: &Conditions) -> Result<Outcome> {
    if let Some(reason) = crate::machine::missing(scenario, conditions.room) {
        return Ok(Outcome::Skipped(reason));
    }
    let folder = folder(scenario, conditions);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let act = || acts(scenario, conditions, &folder);
    if scenario.network.is_empty() {
        return act();
    }
    // A network namespace belongs to a thread and to everything that it starts.
    thread::scope(|scope| {
        let inside = || match crate::machine::enter_network(scenario.network) {
            Ok(name) => Ok(match act()? {
                Outcome::Passed(figures) => Outcome::Passed([vec![format!("network: {name}")], figures].concat()),
                skipped @ Outcome::Skipped(_) => skipped,
            }),
            Err(reason) => Ok(Outcome::Skipped(format!("{reason:#}"))),
        };
        scope.spawn(inside).join().map_err(|_| anyhow!("the scenario's thread panicked"))?
    })
}

fn folder(scenario: &Scenario, conditions: &Conditions) -> PathBuf {
    conditions.output.join(scenario.name)
}

/// The file with everything that the scenario's servers printed on stderr.
pub(crate) fn stderr_path(scenario: &Scenario, conditions: &Conditions) -> PathBuf {
    folder(scenario, conditions).join(Launch::STDERR)
}

fn acts(scenario: &Scenario, conditions: &Conditions, folder: &Path) -> Result<Outcome> {
    let mut figures = Vec::new();
    to_its_end(scenario, conditions, folder, &mut figures).context("in the act without SIGTERM")?;
    cut_short(scenario, conditions, folder, &mut figures).context("in the act with SIGTERM")?;
    Ok(Outcome::Passed(figures))
}

fn launch(scenario: &Scenario, conditions: &Conditions, folder: &Path) -> Result<Server> {
    let Scenario { arguments, descriptors, log, inject, .. } = *scenario;
    Launch { binary: &conditions.server, folder, arguments, descriptors, log, inject }.start()
}

fn to_its_end(scenario: &Scenario, conditions: &Conditions, folder: &Path, figures: &mut Vec<String>) -> Result<()> {
    let mut server = launch(scenario, conditions, folder)?;
    // Memory and descriptors are measured before there are peers, and after the very first, with which the log is open.
    serves_a_new_peer(&server, scenario.cuts_off, "before the storm")?;
    server.wait_for_connections(0)?;
    let before = server.usage();
    let healthy = Healthy::start(server.address(), scenario.healthy_peers(), scenario.cuts_off)?;
    let mut storm_figures = Vec::new();
    (scenario.storm)(&mut Storm {
        scenario,
        server: &mut server,
        healthy: &healthy,
        random: Random::new(1),
        until: Instant::now() + conditions.time * scenario.length,
        short: conditions.short,
        room: conditions.room,
        folder,
        figures: &mut storm_figures,
    })?;

    serves_a_new_peer(&server, scenario.cuts_off, "after the storm")?;
    let report = healthy.stop()?;
    ensure!(report.echoes() > 0, "no healthy peer was served");
    figures.push(format!(
        "{} healthy echoes, {}, median {}, 99 % {}, worst {}",
        report.echoes(),
        size(report.bytes),
        time(report.latency(500)),
        time(report.latency(990)),
        time(report.latency(1000)),
    ));
    if report.cut_off > 0 {
        figures.push(format!("{} healthy peers cut off", report.cut_off));
    }
    for (per_mille, bound) in [500, 990, 1000].into_iter().zip(scenario.latencies) {
        ensure!(
            report.latency(per_mille) <= bound,
            "{per_mille} in a thousand echoes must take at most {bound:?} ({})",
            figures.join("; ")
        );
    }
    figures.append(&mut storm_figures);
    server.wait_for_connections(0)?;
    figures.push(match before {
        Some(before) => back_at_rest(&server, before, scenario.growth)?,
        None => "memory, descriptors and processor time cannot be read here".to_owned(),
    });
    if !conditions.short {
        figures.extend(rest(&server).context("after the storm")?);
    }
    server.signal(Signal::TERM)?;
    let ending = server.end()?;
    if scenario.log != Log::Off {
        figures.push(ending.add_up()?);
    }
    (scenario.after)(&ending)
}

/// Demands that a new peer is served.
fn serves_a_new_peer(server: &Server, may_be_cut_off: bool, moment: &str) -> Result<()> {
    wait_for(&format!("a new peer is served {moment}"), || {
        let served = Peer::connect(server.address(), Sockets::Usual).and_then(|mut peer| peer.echo(10_000));
        match served {
            Ok(()) => Ok(Some(())),
            Err(trouble) if may_be_cut_off && trouble.is_cut_off() => Ok(None),
            Err(trouble) => Err(trouble).with_context(|| format!("a new peer is not served {moment}")),
        }
    })
}

/// Demands that the server costs what it did before the storm. Returns the figures.
fn back_at_rest(server: &Server, before: Usage, growth: Option<u64>) -> Result<String> {
    let descriptors = before.descriptors;
    wait_for("descriptors are back at rest", || {
        let now = server.usage().context("the server has ended")?.descriptors;
        Ok((now == descriptors).then_some(()))
    })
    .with_context(|| format!("{descriptors} before the storm, now {:?}", server.usage().map(|now| now.descriptors)))?;
    let after = server.usage().context("the server has ended")?;
    let (was, is, peak) = (size(before.memory), size(after.memory), size(after.peak));
    ensure!(after.memory <= before.memory + KEPT, "memory went from {was} to {is} and stayed there (peak {peak})");
    if let Some(growth) = growth {
        let allowed = size(growth);
        ensure!(after.peak <= before.memory + growth, "memory went from {was} to {peak}, more than {allowed} up");
    }
    Ok(format!("memory {was} before, {peak} at most, {is} after; {descriptors} descriptors at rest"))
}

fn cut_short(scenario: &Scenario, conditions: &Conditions, folder: &Path, figures: &mut Vec<String>) -> Result<()> {
    let mut server = launch(scenario, conditions, folder)?;
    let healthy = Healthy::start(server.address(), scenario.healthy_peers(), scenario.cuts_off)?;
    let process = server.handle();
    let moment = (conditions.time / 3).min(Duration::from_secs(2));
    let mut ignored = Vec::new();
    let ending = AtomicBool::new(false);
    let took = thread::scope(|scope| {
        let (healthy, ending) = (&healthy, &ending);
        let signaller = scope.spawn(move || {
            thread::sleep(moment);
            healthy.expect_the_end();
            ending.store(true, Relaxed);
            terminate(&process)
        });
        let outcome = (scenario.storm)(&mut Storm {
            scenario,
            server: &mut server,
            healthy,
            random: Random::new(1),
            until: Instant::now() + moment + Duration::from_millis(200),
            short: conditions.short,
            room: conditions.room,
            folder,
            figures: &mut ignored,
        });
        let early = !ending.load(Relaxed);
        let took = signaller.join().map_err(|_| anyhow!("the signalling thread panicked"))?;
        match outcome {
            // What fails after the signal may fail because of it, unless bytes were wrong.
            Err(error) if early || is_wrong(&error) => Err(error),
            _ => Ok(took),
        }
    })?;
    let took = match took {
        Ok(took) => took,
        // If it ended nevertheless, the way it ended says more.
        Err(error) => {
            return Err(match server.end() {
                Ok(_) => error,
                Err(ending) => ending.context(format!("{error:#}")),
            });
        }
    };
    let ending = server.end()?;
    healthy.stop()?;
    if scenario.log != Log::Off {
        ending.add_up().context("the log of a drain")?;
    }
    ensure!(took <= DRAIN, "the drain took {took:?}");
    figures.push(format!("after SIGTERM exit code 0 within {}", time(took)));
    Ok(())
}

fn is_wrong(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<Trouble>(), Some(Trouble::Wrong(_) | Trouble::TooMany))
}
