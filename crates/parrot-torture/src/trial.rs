//! How a scenario is run: once to its end, with everything back at rest after it, and once with SIGTERM in its midst.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::Signal;

use crate::healthy::Healthy;
use crate::measure::{Usage, size, time};
use crate::peer::{Peer, Sockets};
use crate::random::Random;
use crate::scenario::{Scenario, Storm, rest};
use crate::server::{Launch, Log, Server, eventually};

/// The server's drain time-out is a second; a busy machine may add to it.
const DRAIN: Duration = Duration::from_secs(10);

/// Memory that may stay with the server after a storm: what its tables and its allocator keep.
const KEPT: u64 = 8 << 20;

/// What all scenarios of a run have in common.
#[derive(Debug)]
pub struct Conditions {
    /// The server's binary.
    pub server: PathBuf,
    /// Where folders and plots of the run go.
    pub output: PathBuf,
    /// How long a storm lasts.
    pub time: Duration,
    /// Whether this is the short form: fewer of everything.
    pub short: bool,
    /// How many connections the suite may have open itself.
    pub room: usize,
}

/// What a scenario came to.
#[derive(Debug)]
pub enum Outcome {
    /// Everything held; the figures.
    Passed(Vec<String>),
    /// It cannot run here; why.
    Skipped(String),
}

/// Runs both acts of a scenario.
///
/// # Errors
///
/// What did not hold.
pub fn run(scenario: &Scenario, conditions: &Conditions) -> Result<Outcome> {
    if let Some(reason) = crate::here::missing(scenario, conditions.room) {
        return Ok(Outcome::Skipped(reason));
    }
    let folder = folder(scenario, conditions);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let act = || acts(scenario, conditions, &folder);
    if scenario.network.is_empty() {
        return act();
    }
    // A network namespace belongs to a thread, and to all it starts.
    thread::scope(|scope| {
        let inside = || match crate::here::enter_network(scenario.network) {
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

/// Where everything is that the scenario's servers printed on stderr.
pub(crate) fn server_words(scenario: &Scenario, conditions: &Conditions) -> PathBuf {
    folder(scenario, conditions).join(Launch::STDERR)
}

fn acts(scenario: &Scenario, conditions: &Conditions, folder: &Path) -> Result<Outcome> {
    let mut figures = Vec::new();
    to_its_end(scenario, conditions, folder, &mut figures).context("in the act that goes to its end")?;
    cut_short(scenario, conditions, folder, &mut figures).context("in the act with SIGTERM in its midst")?;
    Ok(Outcome::Passed(figures))
}

fn launch(scenario: &Scenario, conditions: &Conditions, folder: &Path) -> Result<Server> {
    let Scenario { arguments, descriptors, log, inject, .. } = *scenario;
    Launch { binary: &conditions.server, folder, arguments, descriptors, log, inject }.start()
}

fn storm<'a>(
    scenario: &Scenario,
    conditions: &Conditions,
    folder: &'a Path,
    server: &'a mut Server,
    healthy: &'a Healthy,
    length: Duration,
    figures: &'a mut Vec<String>,
) -> Storm<'a> {
    Storm {
        server,
        healthy,
        healthy_peers: scenario.healthy_peers(),
        random: Random::new(1),
        until: Instant::now() + length,
        short: conditions.short,
        room: conditions.room,
        descriptors: scenario.descriptors,
        cuts_off: scenario.cuts_off,
        inject: scenario.inject,
        folder,
        figures,
    }
}

fn to_its_end(scenario: &Scenario, conditions: &Conditions, folder: &Path, figures: &mut Vec<String>) -> Result<()> {
    let mut server = launch(scenario, conditions, folder)?;
    // Before there are peers, as some may be cut off as soon as they come, and after the first of all, for the log is open then.
    serves_a_newcomer(&server, scenario.cuts_off, "before the storm")?;
    server.wait_for_connections(0)?;
    let before = server.usage();
    let healthy = Healthy::start(server.address(), scenario.healthy_peers(), scenario.cuts_off)?;
    let mut storm_figures = Vec::new();
    let length = conditions.time * scenario.length;
    (scenario.storm)(&mut storm(scenario, conditions, folder, &mut server, &healthy, length, &mut storm_figures))?;

    serves_a_newcomer(&server, scenario.cuts_off, "after the storm")?;
    let report = healthy.stop()?;
    if report.echoes() == 0 {
        bail!("no healthy peer was served");
    }
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
        if report.latency(per_mille) > bound {
            bail!("{} in a thousand echoes are to take {bound:?} at most ({})", per_mille, figures.join("; "));
        }
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

/// Whoever comes at this moment is served.
fn serves_a_newcomer(server: &Server, may_be_cut_off: bool, moment: &str) -> Result<()> {
    eventually(&format!("a newcomer is served {moment}"), || {
        let served = Peer::connect(server.address(), Sockets::Usual).and_then(|mut peer| peer.echo(10_000));
        match served {
            Ok(()) => Ok(Some(())),
            Err(trouble) if may_be_cut_off && trouble.is_cut_off() => Ok(None),
            Err(trouble) => Err(trouble).with_context(|| format!("a newcomer {moment} is not served")),
        }
    })
}

/// Compares with the server before the storm.
fn back_at_rest(server: &Server, before: Usage, growth: Option<u64>) -> Result<String> {
    let descriptors = before.descriptors;
    eventually("descriptors are back at rest", || {
        let now = server.usage().context("the server has ended")?.descriptors;
        Ok((now == descriptors).then_some(()))
    })
    .with_context(|| format!("{descriptors} before the storm, now {:?}", server.usage().map(|now| now.descriptors)))?;
    let after = server.usage().context("the server has ended")?;
    let (was, is, peak) = (size(before.memory), size(after.memory), size(after.peak));
    if after.memory > before.memory + KEPT {
        bail!("memory went from {was} to {is} and stayed there (peak {peak})");
    }
    if let Some(growth) = growth.filter(|growth| after.peak > before.memory + growth) {
        bail!("memory went from {was} to {peak}, and was to grow by {} at most", size(growth));
    }
    Ok(format!("memory {was} before, {peak} at most, {is} after; {descriptors} descriptors at rest"))
}

fn cut_short(scenario: &Scenario, conditions: &Conditions, folder: &Path, figures: &mut Vec<String>) -> Result<()> {
    let mut server = launch(scenario, conditions, folder)?;
    let healthy = Healthy::start(server.address(), scenario.healthy_peers(), scenario.cuts_off)?;
    let remote = server.remote();
    let moment = (conditions.time / 3).min(Duration::from_secs(2));
    let mut ignored = Vec::new();
    let ending = AtomicBool::new(false);
    let took = thread::scope(|scope| {
        let (healthy, ending) = (&healthy, &ending);
        let signaller = scope.spawn(move || {
            thread::sleep(moment);
            healthy.expect_the_end();
            ending.store(true, Ordering::Relaxed);
            remote.terminate()
        });
        let mut storm = storm(
            scenario,
            conditions,
            folder,
            &mut server,
            healthy,
            moment + Duration::from_millis(200),
            &mut ignored,
        );
        let outcome = (scenario.storm)(&mut storm);
        let early = !ending.load(Ordering::Relaxed);
        let took = signaller.join().map_err(|_| anyhow!("the signalling thread panicked"))?;
        match outcome {
            // What fails after the signal may fail because of it; but no byte may be another's.
            Err(error) if early || is_wrong(&error) => Err(error),
            _ => Ok(took),
        }
    })?;
    let took = match took {
        Ok(took) => took,
        // How it ended says more than that it did not end well, if it ended.
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
    if took > DRAIN {
        bail!("the drain took {took:?}");
    }
    figures.push(format!("SIGTERM in the midst: exit code 0 after {}", time(took)));
    Ok(())
}

fn is_wrong(error: &anyhow::Error) -> bool {
    use crate::peer::Trouble;
    matches!(error.downcast_ref::<Trouble>(), Some(Trouble::Wrong(_) | Trouble::TooMany))
}
