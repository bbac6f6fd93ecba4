//! Compares two results: what got faster, what got slower, and whether that is more than the spread.

use std::fmt;

use anyhow::Result;
use parrot_load::Mark;
use parrot_load::units::thousands;
use parrot_testkit::output::say;

use crate::environment::Environment;
use crate::results::{Cell, DISTURBED, Method, Results, Summary, is_own};
use crate::table::cost;

/// Changes below this share never count, whatever the spread.
const LEAST: f64 = 0.02;
/// With one run on a side there is no spread, and only changes beyond this share count.
const UNREPEATED: f64 = 0.10;

/// The change of one figure of one server in one suite.
#[derive(Debug)]
pub(crate) struct Change {
    suite: String,
    server: String,
    figure: &'static str,
    before: Summary,
    after: Summary,
    verdict: Verdict,
    /// Whether something other than the server may explain the change.
    doubtful: bool,
}

/// How a change is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Faster,
    Slower,
    /// Within the spread, or too small to count.
    Same,
}

/// Prints how `after` differs from `before`. Returns whether Parrot got slower or the two cannot be compared.
pub(crate) fn print(before: &Results, after: &Results) -> Result<bool> {
    let changes = changes(before, after);
    say(format_args!("\ncompared with {} ({})", before.environment.commit, before.environment.date))?;
    if changes.is_empty() {
        say("  nothing to compare, because no server was measured in the same suite in both")?;
        return Ok(true);
    }
    for change in changes.iter().filter(|change| change.is_noteworthy()) {
        say(format_args!("  {change}"))?;
    }
    if !changes.iter().any(Change::is_noteworthy) {
        say(format_args!("  no change beyond the spread in {} figures", changes.len()))?;
    }
    for line in one_sided(before, after).into_iter().chain(cautions(before, after, &changes)) {
        say(format_args!("  {line}"))?;
    }
    Ok(changes.iter().any(Change::is_regression))
}

/// The changes of all figures that both results contain.
pub(crate) fn changes(before: &Results, after: &Results) -> Vec<Change> {
    let mut changes = Vec::new();
    for cell in &after.cells {
        let Some(old) = before.cell(&cell.suite, &cell.server) else { continue };
        let repeated = cell.is_repeated() && old.is_repeated();
        let limited = is_limited_elsewhere(cell) || is_limited_elsewhere(old);
        let figures = [
            ("CPU per message", old.cpu_per_message().zip(cell.cpu_per_message()), false),
            ("throughput", old.throughput().zip(cell.throughput()), true),
        ];
        for (figure, both, more_is_faster) in figures {
            let Some((before, after)) = both else { continue };
            let verdict = judge(before, after, more_is_faster, repeated);
            let (suite, server) = (cell.suite.clone(), cell.server.clone());
            let doubtful = more_is_faster && limited;
            changes.push(Change { suite, server, figure, before, after, verdict, doubtful });
        }
    }
    changes
}

/// Whether the client or other programs limited the throughput of `cell`, and not only its server.
fn is_limited_elsewhere(cell: &Cell) -> bool {
    cell.sound().any(|run| run.is_disturbed() || run.marks.contains(&Mark::ClientBound))
}

/// Judges a change, which counts under three conditions.
///
/// - No run of one side lies among the runs of the other. With three runs on each side, chance does this 1 time in 10.
/// - The medians differ by more than the half spreads of both sides together.
/// - The change is not tiny.
fn judge(before: Summary, after: Summary, more_is_faster: bool, repeated: bool) -> Verdict {
    let change = after.median - before.median;
    let share = change / before.median;
    let apart = (after.least > before.most || after.most < before.least)
        && change.abs() > before.half_spread() + after.half_spread();
    if !apart || share.abs() < if repeated { LEAST } else { UNREPEATED } || !share.is_finite() {
        Verdict::Same
    } else if (share > 0.0) == more_is_faster {
        Verdict::Faster
    } else {
        Verdict::Slower
    }
}

impl Change {
    /// Whether Parrot itself got slower.
    ///
    /// A rival that got slower points to the machine. A throughput that the client or other programs limited does not
    /// count, so CPU time per message decides there.
    fn is_regression(&self) -> bool {
        self.verdict == Verdict::Slower && is_own(&self.server) && !self.doubtful
    }

    /// Whether the change is worth a line.
    pub(crate) fn is_noteworthy(&self) -> bool {
        self.verdict != Verdict::Same
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { suite, server, figure, before, after, verdict, doubtful } = self;
        let word = match verdict {
            Verdict::Faster => "faster",
            Verdict::Slower => "SLOWER",
            Verdict::Same => "same",
        };
        let share = (after.median / before.median - 1.0) * 100.0;
        let shown = |value: f64| if value < 1000.0 { cost(value) } else { thousands(value) };
        let [old, new, least, most, old_least, old_most] =
            [before.median, after.median, after.least, after.most, before.least, before.most].map(shown);
        write!(
            formatter,
            "{word:6} {suite:12} {server:12} {figure:15} {old} -> {new} \
             ({share:+.1} %; runs {least} to {most}, were {old_least} to {old_most}){}",
            if *doubtful { ", not limited by the server alone" } else { "" }
        )
    }
}

/// A line about what only one of the two results contains.
fn one_sided(before: &Results, after: &Results) -> Option<String> {
    let suites = |results: &Results| results.suites.iter().map(|info| info.name.clone()).collect::<Vec<_>>();
    let servers = |results: &Results| results.servers.iter().map(|info| info.name.clone()).collect::<Vec<_>>();
    let only = |one: &Results, other: &Results| {
        let (suites, servers) = (without(&suites(one), &suites(other)), without(&servers(one), &servers(other)));
        [suites, servers].concat().join(", ")
    };
    let (gone, new) = (only(before, after), only(after, before));
    let sides = [("before", gone), ("now", new)].into_iter().filter(|(_, names)| !names.is_empty());
    let sides: Vec<String> = sides.map(|(when, names)| format!("only {when}: {names}")).collect();
    (!sides.is_empty()).then(|| format!("not compared: {}", sides.join("; ")))
}

/// The names of `all` that `known` does not contain.
fn without(all: &[String], known: &[String]) -> Vec<String> {
    all.iter().filter(|name| !known.contains(name)).cloned().collect()
}

/// Reasons to doubt the comparison: another machine, or another way to build or to measure.
fn cautions(before: &Results, after: &Results, changes: &[Change]) -> Vec<String> {
    let mut cautions = Vec::new();
    let (old, new) = (&before.environment, &after.environment);
    if (&old.cpu, &old.kernel, old.cores) != (&new.cpu, &new.kernel, new.cores) {
        let machine = |environment: &Environment| {
            format!("{} with {} cores on {}", environment.cpu, environment.cores, environment.kernel)
        };
        cautions.push(format!("different machines or systems: {} and {}", machine(old), machine(new)));
    }
    // Older files do not record the build.
    if !old.build.is_empty() && old.build != new.build {
        cautions.push(format!("built differently: {} and {}", old.build, new.build));
    }
    let versions = different_versions(&old.versions, &new.versions);
    if !versions.is_empty() {
        cautions.push(format!("built or run by different versions: {}", versions.join(", ")));
    }
    let how = |method: &Method| {
        format!(
            "{} s after {} s, server on cores {:?}, client on {:?}",
            method.window, method.warmup, method.server_cores, method.client_cores
        )
    };
    let (old, new) = (how(&before.method), how(&after.method));
    if old != new {
        cautions.push(format!("measured differently: {old} and {new}"));
    }
    let busy = |results: &Results| results.others().is_some_and(|others| others > DISTURBED);
    if busy(before) || busy(after) {
        cautions.push("other programs were busy during one of the measurements; repeat it on a quiet machine".into());
    }
    let rivals = || changes.iter().filter(|change| !is_own(&change.server));
    let (moved, all) = (rivals().filter(|change| change.is_noteworthy()).count(), rivals().count());
    if all > 0 && moved * 3 > all {
        cautions.push(format!(
            "{moved} of {all} figures of the rivals moved too, which points to the machine and not to Parrot"
        ));
    }
    cautions
}

/// Compilers, runtimes and libraries whose version differs. Parrot's own version is what the comparison is about.
fn different_versions(old: &[(String, String)], new: &[(String, String)]) -> Vec<String> {
    let others = new.iter().filter(|(name, _)| name != "parrot");
    let changed = others.filter_map(|(name, now)| {
        let (_, then) = old.iter().find(|(other, then)| other == name && then != now)?;
        Some(format!("{name} ({then} before, {now} now)"))
    });
    changed.collect()
}

#[cfg(test)]
mod tests {
    use parrot_load::Latency;

    use super::*;
    use crate::results::Run;

    fn summary(values: &[f64]) -> Summary {
        Summary::of(values.iter().copied()).expect("values")
    }

    fn slower(server: &str, doubtful: bool) -> Change {
        let (before, after) = (summary(&[1.0]), summary(&[2.0]));
        let (suite, server) = ("c50".to_string(), server.to_string());
        Change { suite, server, figure: "throughput", before, after, verdict: Verdict::Slower, doubtful }
    }

    #[test]
    fn only_figures_that_parrot_limits_make_it_slower() {
        assert!(slower("parrot", false).is_regression() && slower("parrot-clf", false).is_regression());
        assert!(!slower("parrot", true).is_regression(), "limited by the client");
        assert!(!slower("plain", false).is_regression() && !slower("parrot-of-mine", false).is_regression());
    }

    #[test]
    fn the_client_or_other_programs_may_limit_the_throughput() {
        let cell = |run: Run| Cell { runs: vec![run], ..Cell::default() };
        let sound = || Run { latency: Latency { count: 1, ..Latency::default() }, ..Run::default() };
        assert!(!is_limited_elsewhere(&cell(sound())));
        assert!(is_limited_elsewhere(&cell(Run { marks: vec![Mark::ClientBound], ..sound() })));
        assert!(is_limited_elsewhere(&cell(Run { others: Some(0.5), ..sound() })));
    }

    #[test]
    fn a_change_within_the_spread_is_no_change() {
        let (before, after) = (summary(&[3.5, 3.6, 3.7]), summary(&[3.65, 3.75, 3.8]));
        assert_eq!(judge(before, after, false, true), Verdict::Same);
    }

    #[test]
    fn a_change_beyond_the_spread_is_faster_or_slower() {
        let (low, high) = (summary(&[3.5, 3.55, 3.6]), summary(&[3.9, 4.0, 4.1]));
        assert_eq!(judge(low, high, false, true), Verdict::Slower, "more CPU per message");
        assert_eq!(judge(low, high, true, true), Verdict::Faster, "more messages per second");
        assert_eq!(judge(high, low, false, true), Verdict::Faster);
    }

    #[test]
    fn a_change_below_the_half_spreads_is_no_change() {
        let (before, after) = (summary(&[3.5, 3.9, 3.95]), summary(&[4.0, 4.05, 4.6]));
        assert_eq!(judge(before, after, false, true), Verdict::Same);
    }

    #[test]
    fn versions_that_differ_are_named_except_parrots_own() {
        let versions = |rustc: &str, parrot: &str| {
            [("parrot", parrot), ("rustc", rustc), ("mio", "1.2")].map(|(name, version)| (name.into(), version.into()))
        };
        assert_eq!(
            different_versions(&versions("1.94", "0.1"), &versions("1.95", "0.2")),
            ["rustc (1.94 before, 1.95 now)"]
        );
        assert_eq!(different_versions(&[], &versions("1.95", "0.2")), [""; 0]);
    }

    #[test]
    fn a_tiny_change_is_no_change_however_steady_the_runs() {
        let (before, after) = (summary(&[100.0, 100.1]), summary(&[101.0, 101.1]));
        assert_eq!(judge(before, after, true, true), Verdict::Same);
    }

    #[test]
    fn single_runs_must_differ_by_more() {
        let (before, after) = (summary(&[3.5]), summary(&[3.7]));
        assert_eq!(judge(before, after, false, false), Verdict::Same);
        assert_eq!(judge(before, summary(&[4.5]), false, false), Verdict::Slower);
    }

    #[test]
    fn a_figure_that_was_zero_is_no_change() {
        assert_eq!(judge(summary(&[0.0]), summary(&[1.0]), true, true), Verdict::Same);
    }
}
