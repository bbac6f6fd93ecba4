//! The command line of `cargo xtask bench`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Parser;

use crate::measure::Timing;
use crate::server::{Server, counterpart};
use crate::suite::{CLIENTS, QUICK, Suite};

/// Measures Parrot against other echo servers, and writes results.json, tables.md and report.html
///
/// Exit codes: 0 if the measurement succeeded; 1 if it did not, if Parrot failed, or if --compare found Parrot slower;
/// 2 for wrong usage; 130 if interrupted, after the results so far were written.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench", version, max_term_width = 100)]
#[command(override_usage = "cargo xtask bench [OPTIONS]")]
pub(crate) struct Arguments {
    /// Run fewer suites, with one short run of each server, in under two minutes
    #[arg(long)]
    pub(crate) quick: bool,
    /// Compare with Parrot to the percent, in many short rounds of processes that stay alive. While one is measured, the
    /// others are stopped. The result is the ratio to Parrot with its 95 % interval. All suites take 25 minutes, and
    /// `--only c50,parrot,plain` less than one. Two builds of Parrot are compared with `--only c50,parrot,before --rival
    /// "before=OLD/parrot -q --log off --bind 127.0.0.1 --port {port}"`. Their ratio is above 1 if the new one is better
    #[arg(long, conflicts_with_all = ["quick", "compare", "profile"])]
    pub(crate) fine: bool,
    /// Measure only these suites and servers, separated by commas (c50, size-1m, parrot, plain ...; see --list). A
    /// --rival takes part in any case
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Replace the suites by 12-byte messages on each of these numbers of connections
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub(crate) connections: Vec<usize>,
    /// Runs of each server in each suite, in alternating order [default: 3, with --quick 1]. With --fine these are rounds
    /// [default: up to 40, or 20 with 10,000 connections. A server that is clearly apart from Parrot has 12]
    #[arg(long, value_name = "N", value_parser = repeat)]
    repeat: Option<NonZeroUsize>,
    /// Length of the measured window in each run [default: 2s, with --quick 1s, with --fine 200ms or 300ms]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    duration: Option<Duration>,
    /// Add a rival, started by COMMAND with its port in place of {port}; may be repeated. A rival over UDP has {udp}
    /// instead, and one at a Unix socket {path}. With --fine it takes part in every suite. A load generator has
    /// {connections} in its command, and {warmup} and {window} in milliseconds. It prints a report like parrot-load's
    #[arg(long = "rival", value_name = "NAME=COMMAND", value_parser = Server::rival)]
    pub(crate) rivals: Vec<Server>,
    /// Compare CPU time per message and throughput with older results. The exit code is 1 if Parrot got slower by more
    /// than 2 % and the spread of both (10 % if runs were not repeated)
    #[arg(long, value_name = "OLD.json")]
    pub(crate) compare: Option<PathBuf>,
    /// Draw a flame graph of Parrot under load instead, or of each --rival and each server that `--only` names (needs
    /// perf on Linux)
    #[arg(long)]
    pub(crate) profile: bool,
    /// List the suites and servers, then exit
    #[arg(long)]
    pub(crate) list: bool,
    /// Write the files to this directory [default: target/bench/TIME]
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) output: Option<PathBuf>,
    /// Directory of the programs that xtask built
    #[arg(long, value_name = "DIRECTORY", hide = true)]
    pub(crate) programs: PathBuf,
}

impl Arguments {
    pub(crate) fn repeats(&self) -> usize {
        self.repeat.map_or(if self.quick { 1 } else { 3 }, NonZeroUsize::get)
    }

    /// How long each run is. The warm-up is long enough for buffers, pools and branch predictors to settle.
    pub(crate) fn timing(&self) -> Timing {
        let warmup = Duration::from_millis(if self.quick { 300 } else { 500 });
        Timing::of_run(warmup, self.duration.unwrap_or(Duration::from_secs(if self.quick { 1 } else { 2 })))
    }

    /// How many rounds of a fine measurement each server has at most in `suite`.
    pub(crate) fn rounds(&self, suite: &Suite) -> usize {
        self.repeat.map_or(if suite.is_large() { 20 } else { 40 }, NonZeroUsize::get)
    }

    /// Whether a server that is clearly apart from Parrot has fewer rounds.
    pub(crate) fn may_end_early(&self) -> bool {
        self.repeat.is_none()
    }

    /// How long each round of a fine measurement is in `suite`.
    ///
    /// The server has been warm since its first round. The warm-up is for its caches, which other servers have used
    /// since, and for taking up the connections, which takes a single-threaded server up to 20 µs each.
    pub(crate) fn timing_of_round(&self, suite: &Suite) -> Timing {
        let taking_up = Duration::from_millis((suite.connections + suite.idle) as u64 / 50);
        let window = self.duration.unwrap_or(Duration::from_millis(if suite.is_large() { 300 } else { 200 }));
        Timing::of_round(Duration::from_millis(50) + taking_up, window)
    }

    /// The suites to run. Each number of `--connections` makes a suite of its own.
    pub(crate) fn suites(&self) -> Vec<Suite> {
        if !self.connections.is_empty() {
            return self.connections.iter().map(|connections| Suite::of_connections(*connections)).collect();
        }
        let mut suites = Suite::all();
        suites.retain(|suite| self.fine || !suite.is_of_clients());
        if suites.iter().any(|suite| self.only.contains(&suite.name)) {
            suites.retain(|suite| self.only.contains(&suite.name));
        } else if self.quick {
            suites.retain(|suite| QUICK.contains(&suite.name.as_str()));
        }
        suites
    }

    /// Whether to measure the server called `name`, given the names of `all` servers.
    pub(crate) fn wants(&self, name: &str, all: &[&str]) -> bool {
        let narrowed = self.only.iter().any(|only| all.contains(&only.as_str()));
        let named = self.only.iter().chain(self.rivals.iter().map(|rival| &rival.name)).any(|named| named == name);
        named || (!narrowed && (!self.profile || name == "parrot"))
    }

    /// Refuses unknown names, names that two servers share, and arguments that leave nothing to measure.
    pub(crate) fn check(&self, all: &[Server]) -> Result<()> {
        let servers: Vec<&str> = all.iter().map(|server| server.name.as_str()).collect();
        for rival in &self.rivals {
            if servers.iter().filter(|name| **name == rival.name).count() > 1 {
                bail!("--rival {}: another server has that name already; choose a different one", rival.name);
            }
        }
        for name in &self.only {
            let suite = Suite::all().iter().any(|suite| suite.name == *name);
            if suite && !self.connections.is_empty() {
                bail!("--only {name}: --connections replaces the suites; leave one of the two out");
            }
            if !suite && !servers.contains(&name.as_str()) {
                bail!("--only {name}: no suite and no server has that name (see --list)");
            }
        }
        let clients = |name: &&String| name.starts_with(CLIENTS);
        if let Some(name) = self.only.iter().find(clients).filter(|_| !self.fine) {
            bail!("--only {name}: load generators are compared with --fine only");
        }
        if self.connections.contains(&0) {
            bail!("--connections 0: nothing can be measured without a connection");
        }
        let suites = self.suites();
        let wanted = |server: &&Server| self.wants(&server.name, &servers);
        if !all.iter().filter(wanted).any(|server| suites.iter().any(|suite| server.takes_part(suite))) {
            bail!("none of these servers takes part in these suites (see docs/benchmarks.md)");
        }
        let field = |suite: &Suite| -> Vec<&Server> {
            all.iter().filter(wanted).filter(|server| server.takes_part(suite)).collect()
        };
        if self.fine && !suites.iter().any(|suite| has_pairs(suite, &field(suite))) {
            bail!("--fine compares other servers with parrot; add parrot to --only, and a server beside it");
        }
        Ok(())
    }
}

/// Whether any of `servers` can be compared with another one of them in `suite`.
pub(crate) fn has_pairs(suite: &Suite, servers: &[&Server]) -> bool {
    let is_there = |name: &str| servers.iter().any(|server| server.name == name);
    let with = |server: &&&Server| counterpart(&suite.name, &server.name);
    servers.iter().any(|server| server.name != with(&server) && is_there(with(&server)))
}

fn repeat(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "expected a number from 1 up")
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = text.parse::<jiff::SignedDuration>().map_err(|error| format!("{error} (as in 2s or 500ms)"))?;
    match Duration::try_from(duration) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("expected a time above zero".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn arguments(words: &[&str]) -> Arguments {
        Arguments::try_parse_from(["bench", "--programs", "."].iter().chain(words)).expect("arguments that parse")
    }

    fn suites(words: &[&str]) -> Vec<String> {
        arguments(words).suites().iter().map(|suite| suite.name.to_string()).collect()
    }

    #[test]
    fn only_narrows_suites_and_servers_separately() {
        let only = arguments(&["--only", "c50,size-1m,plain"]);
        assert_eq!(suites(&["--only", "c50,size-1m,plain"]), ["c50", "size-1m"]);
        assert!(only.wants("plain", &["parrot", "plain"]) && !only.wants("parrot", &["parrot", "plain"]));
        let all = arguments(&["--only", "c50"]);
        assert!(all.wants("plain", &["parrot", "plain"]) && all.wants("parrot", &["parrot", "plain"]));
        let profiled = |only| arguments(&["--profile", "--only", only]).wants("plain", &["parrot", "plain"]);
        assert!(profiled("c50,plain") && !profiled("c50"), "only Parrot, unless another one is named");
        let with_rival = arguments(&["--only", "c50,parrot", "--rival", "mine=x {port}"]);
        assert!(with_rival.wants("mine", &["parrot", "mine", "go"]) && !with_rival.wants("go", &["parrot", "go"]));
        assert_eq!(suites(&["--fine", "--only", "plain"]).len(), Suite::all().len());
        assert!(!suites(&["--only", "plain"]).iter().any(|suite| suite.starts_with(CLIENTS)));
    }

    #[test]
    fn arguments_that_cannot_be_measured_are_refused() {
        let refused = |words: &[&str]| {
            let arguments = arguments(words);
            let own = ["parrot=x {port}", "go=x {port}"].map(|text| Server::rival(text).expect("a rival"));
            let all: Vec<Server> = own.into_iter().chain(arguments.rivals.iter().cloned()).collect();
            arguments.check(&all).map_err(|error| error.to_string())
        };
        let says = |words: &[&str], what: &str| refused(words).is_err_and(|error| error.contains(what));
        assert!(says(&["--only", "c5O"], "no suite and no server"));
        assert!(says(&["--only", "go,size-1k"], "none of these servers"));
        assert!(says(&["--connections", "7", "--only", "c50"], "leave one of the two out"));
        assert!(says(&["--rival", "parrot=mine {port}"], "has that name already"));
        assert!(says(&["--rival", "a=b {port}", "--rival", "a=c {port}"], "has that name already"));
        assert!(says(&["--only", "client-c50"], "with --fine only"));
        assert!(says(&["--fine", "--only", "c50,go"], "add parrot"));
        assert!(says(&["--fine", "--only", "c50,parrot"], "a server beside it"));
        assert_eq!(refused(&["--fine", "--only", "c50,parrot", "--rival", "mine=x {port}"]), Ok(()));
        assert_eq!(refused(&["--fine", "--only", "c50,go,parrot"]), Ok(()));
        assert_eq!(refused(&["--only", "c50", "--profile"]), Ok(()));
        assert_eq!(refused(&["--only", "c50,go", "--profile"]), Ok(()));
        assert_eq!(refused(&["--only", "go,c50", "--rival", "mine=x {port}"]), Ok(()));
        let parsed = |words: &[&str]| Arguments::try_parse_from([&["bench", "--programs", "."], words].concat());
        assert!(parsed(&["--repeat", "0"]).is_err_and(|error| error.to_string().contains("a number from 1 up")));
        assert!(parsed(&["--rival", "foo"]).is_err());
        assert!(parsed(&["--fine", "--quick"]).is_err() && parsed(&["--fine", "--compare", "old.json"]).is_err());
    }

    #[test]
    fn help_and_usage_errors_name_cargo_xtask_bench() {
        let help = Arguments::command().render_help().to_string();
        assert!(help.contains("Usage: cargo xtask bench [OPTIONS]") && !help.contains("--programs"), "{help}");
        let mistake = Arguments::try_parse_from(["/target/release/parrot-bench"]).expect_err("no programs").to_string();
        assert!(mistake.contains("Usage: cargo xtask bench [OPTIONS]"), "{mistake}");
    }

    #[test]
    fn quick_runs_fewer_suites_for_a_shorter_time() {
        assert_eq!(suites(&["--quick"]), QUICK);
        let (quick, whole) = (arguments(&["--quick"]), arguments(&[]));
        assert!(quick.repeats() < whole.repeats() && quick.timing().window < whole.timing().window);
    }

    #[test]
    fn many_connections_have_fewer_and_longer_rounds() {
        let fine = arguments(&["--fine"]);
        let [few, many] = ["c50", "c10000"].map(|name| {
            let suite = Suite::all().into_iter().find(|suite| suite.name == name).expect("a suite");
            (fine.rounds(&suite), fine.timing_of_round(&suite))
        });
        assert!(few.0 > many.0 && few.1.window < many.1.window && few.1.warmup < many.1.warmup);
        assert!(fine.may_end_early() && !arguments(&["--fine", "--repeat", "7"]).may_end_early());
        let suite = Suite::of_connections(1);
        let asked = arguments(&["--fine", "--repeat", "7", "--duration", "1s"]);
        assert_eq!((asked.rounds(&suite), asked.timing_of_round(&suite).window), (7, Duration::from_secs(1)));
    }

    #[test]
    fn each_number_of_connections_makes_a_suite() {
        let suites = arguments(&["--connections", "200,9000"]).suites();
        assert_eq!(suites.iter().map(|suite| suite.connections).collect::<Vec<_>>(), [200, 9000]);
        assert_eq!(suites.iter().map(|suite| suite.name.as_str()).collect::<Vec<_>>(), ["c200", "c9000"]);
    }
}
