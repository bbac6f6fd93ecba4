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
use crate::launch;
use crate::machine;
use crate::peer::{Peer, Sockets, Trouble};
use crate::scenario::{Log, Scenario, Storm, rest};
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
    if let Some(reason) = machine::missing(scenario, conditions.room) {
        return Ok(Outcome::Skipped(reason));
    }
    let folder = folder(scenario, conditions);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let trial = Trial { scenario, conditions, folder: &folder };
    if scenario.network.is_empty() {
        return trial.acts(Vec::new());
    }
    // A network namespace belongs to a thread and to everything that it starts.
    thread::scope(|scope| {
        let inside = || match machine::enter_network(scenario.network) {
            Ok(name) => trial.acts(vec![format!("network: {name}")]),
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
    folder(scenario, conditions).join(launch::STDERR)
}

#[derive(Clone, Copy)]
struct Trial<'a> {
    scenario: &'a Scenario,
    conditions: &'a Conditions,
    folder: &'a Path,
}

impl Trial<'_> {
    fn acts(self, mut figures: Vec<String>) -> Result<Outcome> {
        self.to_its_end(&mut figures).context("in the act without SIGTERM")?;
        self.cut_short(&mut figures).context("in the act with SIGTERM")?;
        Ok(Outcome::Passed(figures))
    }

    fn launch(self) -> Result<Server> {
        launch::start(&self.conditions.server, self.folder, self.scenario)
    }

    fn healthy(self, server: &Server) -> Result<Healthy> {
        Healthy::start(server.address(), self.scenario.healthy_peers(), self.scenario.cuts_off)
    }

    /// Lets the storm loose. Returns its figures.
    fn storm(self, server: &mut Server, healthy: &Healthy, length: Duration) -> Result<Vec<String>> {
        let mut storm = Storm {
            scenario: self.scenario,
            server,
            healthy,
            random: Random::new(1),
            until: Instant::now() + length,
            short: self.conditions.short,
            room: self.conditions.room,
            folder: self.folder,
            figures: Vec::new(),
        };
        (self.scenario.storm)(&mut storm)?;
        Ok(storm.figures)
    }

    fn to_its_end(self, figures: &mut Vec<String>) -> Result<()> {
        let Trial { scenario, conditions, .. } = self;
        let mut server = self.launch()?;
        // Memory and descriptors are measured before there are peers, and after the very first, with which the log is
        // open.
        self.serves_a_new_peer(&server, "before the storm")?;
        server.wait_for_connections(0)?;
        let before = server.usage();
        let healthy = self.healthy(&server)?;
        let mut storm_figures = self.storm(&mut server, &healthy, conditions.time * scenario.length)?;

        self.serves_a_new_peer(&server, "after the storm")?;
        let report = healthy.stop()?;
        ensure!(report.echoes() > 0, "no healthy peer was served");
        figures.push(report.to_string());
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
    fn serves_a_new_peer(self, server: &Server, moment: &str) -> Result<()> {
        wait_for(&format!("a new peer is served {moment}"), || {
            let served = Peer::connect(server.address(), Sockets::Usual).and_then(|mut peer| peer.echo(10_000));
            match served {
                Ok(()) => Ok(Some(())),
                Err(trouble) if self.scenario.cuts_off && trouble.is_cut_off() => Ok(None),
                Err(trouble) => Err(trouble).with_context(|| format!("a new peer is not served {moment}")),
            }
        })
    }

    fn cut_short(self, figures: &mut Vec<String>) -> Result<()> {
        let mut server = self.launch()?;
        let healthy = self.healthy(&server)?;
        let process = server.handle();
        let moment = (self.conditions.time / 3).min(Duration::from_secs(2));
        let ending = AtomicBool::new(false);
        let took = thread::scope(|scope| {
            let (healthy, ending) = (&healthy, &ending);
            let signaller = scope.spawn(move || {
                thread::sleep(moment);
                healthy.expect_the_end();
                ending.store(true, Relaxed);
                terminate(&process)
            });
            let outcome = self.storm(&mut server, healthy, moment + Duration::from_millis(200));
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
        if self.scenario.log != Log::Off {
            ending.add_up().context("the log of a drain")?;
        }
        ensure!(took <= DRAIN, "the drain took {took:?}");
        figures.push(format!("after SIGTERM exit code 0 within {}", time(took)));
        Ok(())
    }
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

fn is_wrong(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<Trouble>(), Some(Trouble::Wrong(_) | Trouble::TooMany))
}
