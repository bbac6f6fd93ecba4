//! The command line of `cargo xtask bench`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Parser;

use crate::server::Server;
use crate::suite::{QUICK, SUITES, Suite};

/// Measures Parrot against other echo servers, and leaves a table, results.json and report.html.
///
/// Exit code 0: measured. 1: it could not be, Parrot failed, or --compare found it slower. 2: wrong usage. 130:
/// interrupted; what there was is written.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench", version, max_term_width = 100)]
#[command(override_usage = "cargo xtask bench [OPTIONS]")]
pub(crate) struct Arguments {
    /// The essential, in under two minutes: fewer suites, one short run of each
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only these suites and servers (c50, size-1m, parrot, plain ...; see --list), separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Measure with these numbers of connections instead of the suites' own (12-byte messages)
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub(crate) connections: Vec<usize>,
    /// Runs of each server under each load, in alternating order [default: 3, with --quick 1]
    #[arg(long, value_name = "N", value_parser = repeat)]
    repeat: Option<NonZeroUsize>,
    /// Seconds measured in each run [default: 2s, with --quick 1s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    duration: Option<Duration>,
    /// Another rival, started by COMMAND, in which {port} stands for its port; may be repeated
    #[arg(long = "rival", value_name = "NAME=COMMAND", value_parser = Server::rival)]
    pub(crate) rivals: Vec<Server>,
    /// Compare CPU a message and throughput, of each server under each load, with those of another time; exit code 1 if
    /// Parrot got slower by more than the spread of both and 2 % (10 % where nothing was repeated)
    #[arg(long, value_name = "OLD.json")]
    pub(crate) compare: Option<PathBuf>,
    /// Draw a flame graph of Parrot under load instead (perf, on Linux)
    #[arg(long)]
    pub(crate) profile: bool,
    /// List the suites and servers, and measure nothing
    #[arg(long)]
    pub(crate) list: bool,
    /// Where to leave the files [default: a directory named after the time, in target/bench]
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) output: Option<PathBuf>,
    /// Where the programs are that xtask built
    #[arg(long, value_name = "DIRECTORY", hide = true)]
    pub(crate) programs: PathBuf,
}

impl Arguments {
    pub(crate) fn repeats(&self) -> usize {
        self.repeat.map_or(if self.quick { 1 } else { 3 }, NonZeroUsize::get)
    }

    pub(crate) fn window(&self) -> Duration {
        self.duration.unwrap_or(Duration::from_secs(if self.quick { 1 } else { 2 }))
    }

    /// Enough for buffers, pools and branch predictors.
    pub(crate) fn warmup(&self) -> Duration {
        Duration::from_millis(if self.quick { 300 } else { 500 })
    }

    /// The suites to run. Connections besides the suites' own make suites of their own.
    pub(crate) fn suites(&self) -> Vec<Suite> {
        if !self.connections.is_empty() {
            return self.connections.iter().map(|connections| Suite::of_connections(*connections)).collect();
        }
        let named = |suite: &&Suite| self.only.iter().any(|name| suite.name == name.as_str());
        if SUITES.iter().any(|suite| named(&suite)) {
            return SUITES.iter().filter(named).cloned().collect();
        }
        SUITES.iter().filter(|suite| !self.quick || QUICK.contains(&suite.name.as_ref())).cloned().collect()
    }

    /// Whether the server called `name` is wanted, of those called `all`.
    pub(crate) fn wants(&self, name: &str, all: &[&str]) -> bool {
        let narrowed = self.only.iter().any(|only| all.contains(&only.as_str()));
        !narrowed || self.only.iter().any(|only| only == name)
    }

    /// Refuses names that are neither suite nor server, that two servers have, or that leave nothing to measure.
    pub(crate) fn check(&self, all: &[Server]) -> Result<()> {
        let servers: Vec<&str> = all.iter().map(|server| server.name.as_str()).collect();
        for rival in &self.rivals {
            if servers.iter().filter(|name| **name == rival.name).count() > 1 {
                bail!("--rival {}: there is a server of that name already; choose another", rival.name);
            }
        }
        for name in &self.only {
            if !self.connections.is_empty() && SUITES.iter().any(|suite| suite.name == name.as_str()) {
                bail!(
                    "--only {name}: --connections measures with its own numbers instead of the suites; leave one out"
                );
            }
            if !servers.contains(&name.as_str()) && !SUITES.iter().any(|suite| suite.name == name.as_str()) {
                bail!("--only {name}: there is neither a suite nor a server of that name here (see --list)");
            }
        }
        if self.connections.contains(&0) {
            bail!("--connections 0: there is nothing to measure without a connection");
        }
        if self.profile && !self.wants("parrot", &servers) {
            bail!("--profile is of parrot, which is not among the servers of --only: name it too, or none");
        }
        let suites = self.suites();
        let wanted = |server: &&Server| self.wants(&server.name, &servers);
        if !all.iter().filter(wanted).any(|server| suites.iter().any(|suite| server.takes_part(suite.field))) {
            bail!("none of these servers takes part in any of these suites: docs/benchmarks.md says who does");
        }
        Ok(())
    }
}

fn repeat(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "want a number from 1 up")
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = text.parse::<jiff::SignedDuration>().map_err(|error| format!("{error} (as in 2s or 500ms)"))?;
    match Duration::try_from(duration) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("there is nothing to measure in no time".into()),
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
    fn only_narrows_suites_and_servers_each_by_its_own_names() {
        let only = arguments(&["--only", "c50,size-1m,plain"]);
        assert_eq!(suites(&["--only", "c50,size-1m,plain"]), ["c50", "size-1m"]);
        assert!(only.wants("plain", &["parrot", "plain"]) && !only.wants("parrot", &["parrot", "plain"]));
        let all = arguments(&["--only", "c50"]);
        assert!(all.wants("plain", &["parrot", "plain"]) && all.wants("parrot", &["parrot", "plain"]));
        assert_eq!(suites(&["--only", "plain"]).len(), SUITES.len());
    }

    #[test]
    fn what_leaves_nothing_to_measure_is_refused_with_the_reason() {
        let refused = |words: &[&str]| {
            let arguments = arguments(words);
            let own = ["parrot=x {port}", "go=x {port}"].map(|text| Server::rival(text).expect("a rival"));
            let all: Vec<Server> = own.into_iter().chain(arguments.rivals.iter().cloned()).collect();
            arguments.check(&all).map_err(|error| error.to_string())
        };
        let says = |words: &[&str], what: &str| refused(words).is_err_and(|error| error.contains(what));
        assert!(says(&["--only", "c5O"], "neither a suite nor a server"));
        assert!(says(&["--only", "go,size-1k"], "none of these servers"));
        assert!(says(&["--connections", "7", "--only", "c50"], "leave one out"));
        assert!(says(&["--rival", "parrot=mine {port}"], "that name already"));
        assert!(says(&["--rival", "a=b {port}", "--rival", "a=c {port}"], "that name already"));
        assert!(says(&["--only", "c50,go", "--profile"], "--profile is of parrot"));
        assert_eq!(refused(&["--only", "c50", "--profile"]), Ok(()));
        assert_eq!(refused(&["--only", "go,c50", "--rival", "mine=x {port}"]), Ok(()));
        let parsed = |words: &[&str]| Arguments::try_parse_from([&["bench", "--programs", "."], words].concat());
        assert!(parsed(&["--repeat", "0"]).is_err_and(|error| error.to_string().contains("a number from 1 up")));
        assert!(parsed(&["--rival", "foo"]).is_err());
    }

    #[test]
    fn help_and_mistakes_name_the_command_that_people_type() {
        let help = Arguments::command().render_help().to_string();
        assert!(help.contains("Usage: cargo xtask bench [OPTIONS]") && !help.contains("--programs"), "{help}");
        let mistake = Arguments::try_parse_from(["/target/release/parrot-bench"]).expect_err("no programs").to_string();
        assert!(mistake.contains("Usage: cargo xtask bench [OPTIONS]"), "{mistake}");
    }

    #[test]
    fn quick_is_less_of_everything() {
        assert_eq!(suites(&["--quick"]), QUICK);
        let (quick, whole) = (arguments(&["--quick"]), arguments(&[]));
        assert!(quick.repeats() < whole.repeats() && quick.window() < whole.window());
    }

    #[test]
    fn connections_make_suites_of_their_own() {
        let suites = arguments(&["--connections", "200,9000"]).suites();
        assert_eq!(suites.iter().map(|suite| suite.connections).collect::<Vec<_>>(), [200, 9000]);
        assert_eq!(suites.iter().map(|suite| suite.name.as_ref()).collect::<Vec<_>>(), ["c200", "c9000"]);
    }
}
