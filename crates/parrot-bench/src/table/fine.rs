//! The table of a suite in a fine measurement: ratios to Parrot with their intervals.

use parrot_load::units::microseconds;

use super::{Row, Table, cost, notes, shown};
use crate::comparison::{Comparison, Figure};
use crate::results::{Cell, Results, SuiteInfo};

/// The headings of CPU time per message, those of the median latency where it is compared, and the last one.
const CPU: [&str; 4] = ["CPU µs/message", "× parrot", "95 % interval", "parrot is"];
const P50: [&str; 4] = ["P50", "P50 × parrot", "95 % interval", "parrot is"];

/// The table of `suite`.
pub(super) fn table(results: &Results, suite: &SuiteInfo) -> Table {
    let figures = Figure::of(suite);
    let group = |figure: &Figure| match figure {
        Figure::CpuPerMessage => CPU,
        Figure::P50 => P50,
    };
    let headings = std::iter::once("server").chain(figures.iter().flat_map(group)).chain(["rounds"]).collect();
    let rows = results.of_suite(&suite.name).map(|cell| row(results, suite, cell, figures)).collect();
    Table { headings, rows }
}

fn row(results: &Results, suite: &SuiteInfo, cell: &Cell, figures: &[Figure]) -> Row {
    let compared = figures.iter().flat_map(|figure| {
        let form = if *figure == Figure::P50 { microseconds } else { cost };
        let median = shown(cell.median(|run| figure.in_run(run)), form);
        let comparison = results.comparison(&suite.name, &cell.server, *figure);
        let ratio = comparison.map(|comparison| format!("{:.3}", comparison.ratio.median));
        let interval = comparison.map(|comparison| match comparison.ratio.interval {
            Some((low, high)) => format!("{low:.3} to {high:.3}"),
            None => "too few rounds".into(),
        });
        let place = comparison.and_then(Comparison::place).map(|place| place.to_string());
        [median, ratio.unwrap_or_default(), interval.unwrap_or_default(), place.unwrap_or_default()]
    });
    let rounds = cell.sound().count();
    let columns = std::iter::once(cell.server.clone()).chain(compared).chain([rounds.to_string()]).collect();
    // A few of many rounds may have a mark by chance.
    let usual = |mark: &_| 2 * cell.sound().filter(|run| run.marks.contains(mark)).count() > rounds;
    let marks = cell.marks().into_iter().filter(usual);
    let mut notes = notes(cell, marks, results.is_full(cell));
    notes.extend(results.sharing(&cell.server));
    let comparison = figures.iter().find_map(|figure| results.comparison(&suite.name, &cell.server, *figure));
    let with = comparison.map(|comparison| comparison.with.as_str()).filter(|with| *with != "parrot");
    notes.extend(with.map(|with| format!("compared with {with}")));
    Row { columns, notes }
}

#[cfg(test)]
mod tests {
    use parrot_load::{Latency, Mark};

    use super::*;
    use crate::comparison::Round;
    use crate::report::tests::{results, server};
    use crate::results::Run;

    /// Results of one suite with one connection, in which the CPU time of a server is the length of its name.
    fn measured(suite: &str, servers: &[&str], rounds: usize) -> Results {
        let mut results = results(&[(suite, 1)], &[]);
        for name in servers {
            let round = |block: usize| Run {
                cpu_per_message: Some(name.len() as f64),
                latency: Latency { count: 1, p50: Some(20.0), ..Latency::default() },
                marks: if block == 0 { vec![Mark::Contradiction] } else { vec![Mark::ClientBound] },
                round: Some(Round { block, process: 0 }),
                ..Run::default()
            };
            results.cell_mut(suite, name).runs.extend((0..rounds).map(round));
            results.servers.push(server(name, ""));
        }
        results.compare(&results.suites[0].clone());
        results
    }

    fn rows(results: &Results) -> Vec<Row> {
        table(results, &results.suites[0]).rows
    }

    #[test]
    fn a_row_has_the_ratio_its_interval_and_where_parrot_is() {
        let rows = rows(&measured("c1", &["parrot", "plain"], 40));
        let expected = ["plain", "5.00", "0.833", "0.833 to 0.833", "behind"];
        assert_eq!(rows[1].columns[..5], expected);
        assert_eq!(rows[1].columns[5..], ["20.0 µs", "1.000", "1.000 to 1.000", "level", "40"]);
        assert_eq!(rows[0].columns[..5], ["parrot", "6.00", "", "", ""]);
    }

    #[test]
    fn marks_of_most_rounds_are_noted() {
        let rows = rows(&measured("c1", &["parrot", "plain"], 40));
        assert_eq!(rows[1].notes, ["client-bound"]);
    }

    #[test]
    fn a_row_says_what_makes_it_special() {
        let few = rows(&measured("c1", &["parrot-spin", "plain-spin"], 3));
        assert_eq!(few[1].columns[1..5], ["10.00", "0.909", "too few rounds", ""]);
        assert_eq!(few[1].notes, ["client-bound", "compared with parrot-spin"]);
    }
}
