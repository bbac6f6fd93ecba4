//! How servers compare with Parrot in a fine measurement: ratios of figures from the same block of rounds.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::estimate::{CONFIDENCE, Estimate};
use crate::results::{Results, Run, SuiteInfo};
use crate::server::counterpart;
use crate::suite::counted;

/// What a fine measurement adds to the results.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fine {
    /// How often an interval contains the true ratio, at least.
    pub(crate) confidence: f64,
    /// How the servers of each suite took turns.
    pub(crate) schedules: BTreeMap<String, Schedule>,
    pub(crate) comparisons: Vec<Comparison>,
}

impl Default for Fine {
    fn default() -> Fine {
        Fine { confidence: CONFIDENCE, schedules: BTreeMap::new(), comparisons: Vec::new() }
    }
}

/// How the servers of a suite take turns. Times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Schedule {
    /// Processes of each server that stay alive. 0 for load generators, of which each round is a process.
    pub(crate) processes: usize,
    /// Rounds of each server, unless it is clearly apart from Parrot before that.
    pub(crate) rounds: usize,
    pub(crate) warmup: f64,
    pub(crate) window: f64,
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Schedule { processes, rounds, warmup, window } = *self;
        let [warmup, window] = [warmup, window].map(Duration::from_secs_f64);
        let processes = match processes {
            0 => "each a process of its own".into(),
            1 => "1 process of each server in turn".into(),
            _ => format!("{processes} processes of each server in turn"),
        };
        let rounds = counted(rounds, "round");
        write!(formatter, "up to {rounds} of {window:?} after {warmup:?} of warm-up, {processes}")
    }
}

/// The round that a run was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Round {
    /// The block that it belongs to, which has one round of each server.
    pub(crate) block: usize,
    /// Which of the server's processes was measured.
    pub(crate) process: usize,
}

/// The figure of a round that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Figure {
    CpuPerMessage,
    P50,
}

impl Figure {
    /// The figures that are compared in `suite`.
    ///
    /// With several messages under way a message mostly waits for the others, so its latency says no more than the
    /// throughput.
    pub(crate) fn of(suite: &SuiteInfo) -> &'static [Figure] {
        let alone = suite.connections == 1 && suite.pipeline == 1;
        if alone { &[Figure::CpuPerMessage, Figure::P50] } else { &[Figure::CpuPerMessage] }
    }

    /// This figure of `run`, in microseconds.
    pub(crate) fn in_run(self, run: &Run) -> Option<f64> {
        match self {
            Figure::CpuPerMessage => run.cpu_per_message,
            Figure::P50 => run.latency.p50,
        }
    }
}

/// One figure of a server as a multiple of Parrot's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) suite: String,
    pub(crate) server: String,
    /// The server that it is compared with.
    pub(crate) with: String,
    pub(crate) figure: Figure,
    /// The ratio of the blocks in which both were measured.
    pub(crate) ratio: Estimate,
}

/// Where Parrot is in a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It takes less than the other server.
    Ahead,
    /// It takes more.
    Behind,
    /// The interval contains 1.
    Level,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Place::Ahead => "ahead",
            Place::Behind => "behind",
            Place::Level => "level",
        })
    }
}

impl Comparison {
    /// Compares `server` with its counterpart in `suite`. Returns `None` if no block has the figure of both.
    pub(crate) fn of(results: &Results, suite: &str, server: &str, figure: Figure) -> Option<Comparison> {
        let with = Some(counterpart(suite, server)).filter(|with| *with != server)?;
        let in_blocks = |server: &str| -> Option<BTreeMap<usize, f64>> {
            let runs = results.cell(suite, server)?.sound();
            Some(runs.filter_map(|run| Some((run.round?.block, figure.in_run(run)?))).collect())
        };
        let (own, others) = (in_blocks(with)?, in_blocks(server)?);
        let ratio = |(block, other): (&usize, &f64)| Some(other / own.get(block).filter(|own| **own > 0.0)?);
        let ratio = Estimate::of(others.iter().filter_map(ratio))?;
        Some(Comparison { suite: suite.into(), server: server.into(), with: with.into(), figure, ratio })
    }

    /// Where Parrot is, or `None` if there are too few rounds for an interval.
    pub(crate) fn place(&self) -> Option<Place> {
        self.ratio.interval.map(|_| match self.ratio {
            above if above.is_above(1.0) => Place::Ahead,
            below if below.is_below(1.0) => Place::Behind,
            _ => Place::Level,
        })
    }
}

impl Results {
    /// Compares the servers of `suite`, and keeps the comparisons.
    pub(crate) fn compare(&mut self, suite: &SuiteInfo) {
        let servers = self.of_suite(&suite.name).map(|cell| cell.server.clone()).collect::<Vec<_>>();
        let figures = servers.iter().flat_map(|server| Figure::of(suite).iter().map(move |figure| (server, *figure)));
        let compared = figures.filter_map(|(server, figure)| Comparison::of(self, &suite.name, server, figure));
        let compared = compared.collect::<Vec<_>>();
        self.fine.get_or_insert_default().comparisons.extend(compared);
    }

    /// The load of a suite in words and, in a fine measurement, how the servers took turns.
    pub(crate) fn load(&self, suite: &SuiteInfo) -> String {
        let schedule = self.fine.as_ref().and_then(|fine| fine.schedules.get(&suite.name));
        std::iter::once(suite.load.clone()).chain(schedule.map(Schedule::to_string)).collect::<Vec<_>>().join("; ")
    }

    /// The comparison of one figure of `server` in `suite`, if this is a fine measurement.
    pub(crate) fn comparison(&self, suite: &str, server: &str, figure: Figure) -> Option<&Comparison> {
        let comparisons = self.fine.iter().flat_map(|fine| &fine.comparisons);
        let is_this = |one: &&Comparison| one.suite == suite && one.server == server && one.figure == figure;
        comparisons.into_iter().find(is_this)
    }
}

#[cfg(test)]
mod tests {
    use parrot_load::Latency;

    use super::*;
    use crate::report::tests::{results, server};

    /// Results of one suite in which the rounds of each server took these CPU times.
    fn measured(suite: &str, servers: &[(&str, &[f64])]) -> Results {
        let mut results = results(&[(suite, 1)], &[]);
        for (name, rounds) in servers {
            results.servers.push(server(name, ""));
            let round = |(block, cpu): (usize, &f64)| Run {
                cpu_per_message: Some(*cpu),
                latency: Latency { count: 1, p50: Some(10.0 * cpu), ..Latency::default() },
                round: Some(Round { block, process: 0 }),
                ..Run::default()
            };
            results.cell_mut(suite, name).runs.extend(rounds.iter().enumerate().map(round));
        }
        results
    }

    fn compared(results: &Results, server: &str) -> Option<Estimate> {
        Comparison::of(results, "c1", server, Figure::CpuPerMessage).map(|comparison| comparison.ratio)
    }

    #[test]
    fn a_ratio_is_taken_within_each_block() {
        // The machine is twice as slow in the second half, which changes no ratio.
        let slower = |cpu: f64| [cpu, cpu, cpu, 2.0 * cpu, 2.0 * cpu, 2.0 * cpu];
        let results = measured("c1", &[("parrot", &slower(4.0)), ("plain", &slower(5.0))]);
        let ratio = Estimate { count: 6, median: 1.25, interval: Some((1.25, 1.25)) };
        assert_eq!(compared(&results, "plain"), Some(ratio));
        assert_eq!(compared(&results, "parrot"), None, "Parrot is not compared with itself");
    }

    #[test]
    fn rounds_without_a_figure_on_either_side_do_not_count() {
        let mut results = measured("c1", &[("parrot", &[1.0; 8]), ("plain", &[1.5; 7])]);
        results.cell_mut("c1", "parrot").runs[1].cpu_per_message = None;
        results.cell_mut("c1", "plain").runs[2].failures = 1;
        results.cell_mut("c1", "plain").runs.remove(0);
        assert_eq!(compared(&results, "plain").map(|ratio| (ratio.count, ratio.median)), Some((4, 1.5)));
        assert_eq!(compared(&results, "mio"), None);
    }

    #[test]
    fn a_spinning_loop_is_compared_with_the_spinning_parrot() {
        let servers: [(&str, &[f64]); 3] =
            [("parrot", &[8.0; 6]), ("parrot-spin", &[4.0; 6]), ("plain-spin", &[3.0; 6])];
        let mut results = measured("c1", &servers);
        results.compare(&results.suites[0].clone());
        let p50 = |server| results.comparison("c1", server, Figure::P50).map(|one| (&one.with[..], one.ratio.median));
        assert_eq!(p50("plain-spin"), Some(("parrot-spin", 0.75)));
        assert_eq!(p50("parrot-spin"), Some(("parrot", 0.5)));
        assert_eq!(p50("parrot"), None);
    }

    #[test]
    fn only_the_file_of_a_fine_measurement_has_rounds_and_ratios() {
        let mut results = measured("c1", &[("parrot", &[1.0; 6]), ("plain", &[1.5; 6])]);
        results.compare(&results.suites[0].clone());
        let text = serde_json::to_string(&results).expect("JSON");
        let again: Results = serde_json::from_str(&text).expect("the same results");
        let ratio = |results: &Results| results.comparison("c1", "plain", Figure::P50).cloned();
        assert!(ratio(&results).is_some() && ratio(&again) == ratio(&results));
        results.fine = None;
        results.cells.iter_mut().flat_map(|cell| &mut cell.runs).for_each(|run| run.round = None);
        let ordinary = serde_json::to_string(&results).expect("JSON");
        assert!(!ordinary.contains("\"fine\"") && !ordinary.contains("\"round\""), "{ordinary}");
    }

    #[test]
    fn parrot_is_ahead_or_behind_only_with_all_of_the_interval() {
        let place = |interval| {
            let ratio = Estimate { count: 40, median: 1.0, interval };
            let [suite, server, with] = ["c1", "plain", "parrot"].map(String::from);
            Comparison { suite, server, with, figure: Figure::P50, ratio }.place()
        };
        assert_eq!(place(Some((1.01, 1.03))), Some(Place::Ahead));
        assert_eq!(place(Some((0.97, 0.99))), Some(Place::Behind));
        assert_eq!(place(Some((0.99, 1.01))), Some(Place::Level));
        assert_eq!(place(None), None);
    }
}
