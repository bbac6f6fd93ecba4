//! The tables of the results, one per suite, as text and as Markdown.

mod fine;

use std::fmt::Write as _;

use parrot_load::Mark;
use parrot_load::units::{microseconds, thousands};

use crate::results::{Cell, Losses, Results, SuiteInfo, Summary};

/// The headings of the columns, unless the measurement is a fine one.
const HEADINGS: [&str; 10] = [
    "server",
    "messages/s",
    "CPU µs/message",
    "× parrot",
    "cores",
    "P50",
    "P99",
    "P99.9",
    "MiB at rest, peak",
    "per connection",
];

/// The table of one suite.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) headings: Vec<&'static str>,
    pub(crate) rows: Vec<Row>,
}

/// The row of one server.
#[derive(Debug)]
pub(crate) struct Row {
    /// A text for each heading.
    pub(crate) columns: Vec<String>,
    /// Notes that a reader needs to judge the figures.
    pub(crate) notes: Vec<String>,
}

impl Table {
    /// The table of `suite`.
    pub(crate) fn of(results: &Results, suite: &SuiteInfo) -> Table {
        if results.fine.is_some() {
            return fine::table(results, suite);
        }
        let parrot = results.cell(&suite.name, "parrot").and_then(Cell::cpu_per_message);
        let row = |cell: &Cell| {
            let mut row = row(cell, parrot, results.is_full(cell));
            row.notes.extend(results.sharing(&cell.server));
            row
        };
        Table { headings: HEADINGS.into(), rows: results.of_suite(&suite.name).map(row).collect() }
    }

    /// The table as text.
    pub(crate) fn text(&self) -> String {
        let width = |(column, heading): (usize, &&str)| {
            let cells = self.rows.iter().filter_map(|row| row.columns.get(column)).map(|text| text.chars().count());
            cells.chain([heading.chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = self.headings.iter().enumerate().map(width).collect();
        let line = |columns: &[String]| {
            let padded = columns.iter().zip(&widths).enumerate().map(|(place, (text, width))| match place {
                0 => format!("{text:<width$}"),
                _ => format!("{text:>width$}"),
            });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_string()
        };
        let headings: Vec<String> = self.headings.iter().map(ToString::to_string).collect();
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}", line(&headings));
        for row in &self.rows {
            let notes = if row.notes.is_empty() { String::new() } else { format!("  ({})", row.notes.join("; ")) };
            let _ = writeln!(text, "  {}{notes}", line(&row.columns));
        }
        text
    }
}

/// The row of `cell`. `full` says whether its server used all of its cores.
fn row(cell: &Cell, parrot: Option<Summary>, full: bool) -> Row {
    let (throughput, cpu) = (cell.throughput(), cell.cpu_per_message());
    let spread = |summary: Option<Summary>| match summary {
        Some(summary) if cell.is_repeated() => format!(" ±{:>2.0} %", summary.spread() * 100.0),
        _ => String::new(),
    };
    let with_spread = |summary: Option<Summary>, form: fn(f64) -> String| {
        format!("{}{}", shown(summary.map(|summary| summary.median), form), spread(summary))
    };
    let ratio =
        cpu.zip(parrot).filter(|(_, parrot)| parrot.median > 0.0).map(|(own, parrot)| own.median / parrot.median);
    let latency = |quantile: fn(&parrot_load::Latency) -> Option<f64>| {
        shown(cell.median(|run| quantile(&run.latency)), microseconds)
    };
    let rest = shown(cell.median(|run| run.memory.rest.map(|bytes| bytes as f64)), mebibytes);
    let peak = shown(cell.median(|run| run.memory.peak.or(run.memory.loaded).map(|bytes| bytes as f64)), mebibytes);
    let connection = cell.median(|run| run.memory.per_connection);
    Row {
        columns: vec![
            cell.server.clone(),
            with_spread(throughput, thousands),
            with_spread(cpu, cost),
            shown(ratio, |value| format!("{value:.2}")),
            shown(cell.median(|run| run.cores), |value| format!("{value:.2}")),
            latency(|latency| latency.p50),
            latency(|latency| latency.p99),
            latency(|latency| latency.p999),
            if rest.is_empty() { peak } else { format!("{rest}, {peak}") },
            shown(connection, bytes),
        ],
        notes: notes(cell, cell.marks(), full),
    }
}

/// What a reader needs to judge the figures of `cell`. `full` says whether its server used all of its cores.
fn notes(cell: &Cell, marks: impl IntoIterator<Item = Mark>, full: bool) -> Vec<String> {
    let mut notes: Vec<String> = cell.trouble().into_iter().collect();
    notes.extend(marks.into_iter().map(|mark| short(mark, full).to_string()));
    notes.extend(cell.cpu_late().map(|(late, runs)| {
        let all = cell.sound().count();
        format!("CPU left out in {runs} of {all} runs: read up to {late:.3} s too late")
    }));
    notes.extend(
        cell.dropped().map(|(dropped, all)| {
            format!("dropped {} of {} log lines", thousands(dropped as f64), thousands(all as f64))
        }),
    );
    notes.extend(cell.losses().map(lost));
    notes.extend(cell.disturbed().map(|others| format!("disturbed: other programs used {others:.1} cores")));
    notes
}

/// All tables as Markdown.
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = String::new();
    for info in &results.suites {
        let table = Table::of(results, info);
        let _ = writeln!(text, "### {}\n\n{}\n\n| {} |", info.title, results.load(info), table.headings.join(" | "));
        let _ = writeln!(text, "|---|{}", "--:|".repeat(table.headings.len() - 1));
        for row in &table.rows {
            let _ = writeln!(text, "| {} |", row.columns.join(" | "));
        }
        for Row { columns, notes } in table.rows.iter().filter(|row| !row.notes.is_empty()) {
            let server = columns.first().map_or("", String::as_str);
            let _ = writeln!(text, "\n{server}: {}", notes.join("; "));
        }
        text.push('\n');
    }
    for (name, why) in &results.skipped {
        let _ = writeln!(text, "{name} was skipped: {why}\n");
    }
    text
}

/// The datagrams that did not come back exactly once, in words.
fn lost(losses: Losses) -> String {
    let Losses { sent, lost, duplicates, overflowed } = losses;
    let share = if sent > 0 { 100.0 * lost as f64 / sent as f64 } else { 0.0 };
    let mut text = format!("lost {} of {} datagrams ({share:.2} %)", thousands(lost as f64), thousands(sent as f64));
    if duplicates > 0 {
        text.push_str(&format!(", answered {} twice", thousands(duplicates as f64)));
    }
    if overflowed > 0 {
        text.push_str(&format!(", the load generator had no room for {} answers", thousands(overflowed as f64)));
    }
    text
}

/// A mark in a few words. `full` says whether the server used all of its cores.
fn short(mark: Mark, full: bool) -> &'static str {
    match mark {
        Mark::ClientBound if full => "server and client both saturated",
        Mark::ClientBound => "client-bound",
        Mark::NothingMeasured => "nothing measured",
        Mark::Contradiction => "contradiction: throughput times latency is not the concurrency",
        Mark::RateNotReached => "rate not reached",
        Mark::ConnectionsLost => "connections lost",
        Mark::StoppedEarly => "stopped early",
        Mark::WindowsApart => "windows apart",
    }
}

fn shown(value: Option<f64>, form: impl Fn(f64) -> String) -> String {
    value.map(form).unwrap_or_default()
}

/// Formats microseconds of CPU time with two decimals, and with three significant digits below 1.
pub(crate) fn cost(microseconds: f64) -> String {
    let digits = match microseconds {
        small if small > 0.0 && small < 1.0 => (2.0 - small.log10().floor()) as usize,
        _ => 2,
    };
    format!("{microseconds:.digits$}")
}

fn mebibytes(bytes: f64) -> String {
    format!("{:.1}", bytes / f64::from(1 << 20))
}

fn bytes(bytes: f64) -> String {
    match bytes {
        few if few < 10_000.0 => format!("{few:.0} B"),
        many => format!("{:.1} KiB", many / 1024.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{LogLines, Run};

    #[test]
    fn a_server_that_failed_has_reasons_and_no_figures() {
        let failed = Run { failures: 3, failed: "3 timed out".into(), messages_per_second: 1e6, ..Run::default() };
        let cell = Cell { server: "liar".into(), runs: vec![failed], ..Cell::default() };
        let row = row(&cell, None, false);
        assert_eq!(row.columns.iter().filter(|column| !column.is_empty()).collect::<Vec<_>>(), ["liar"]);
        assert_eq!(row.notes, ["3 timed out"]);
    }

    #[test]
    fn dropped_log_lines_are_noted() {
        let log = Some(LogLines { written: 9000, dropped: 1000 });
        let run = Run { log, ..Run::default() };
        let cell = Cell { runs: vec![run], ..Cell::default() };
        assert!(row(&cell, None, false).notes.iter().any(|note| note == "dropped 1,000 of 10,000 log lines"));
    }

    #[test]
    fn datagrams_that_did_not_come_back_once_are_noted() {
        let datagrams = |lost, duplicates| Some(Losses { sent: 1000, lost, duplicates, overflowed: 0 });
        let runs =
            [(0, 0), (5, 0), (0, 3)].map(|(lost, twice)| Run { datagrams: datagrams(lost, twice), ..Run::default() });
        let cell = Cell { runs: runs.into(), ..Cell::default() };
        let note = "lost 5 of 3,000 datagrams (0.17 %), answered 3 twice";
        assert!(row(&cell, None, false).notes.iter().any(|other| other == note));
        let sound = Cell { runs: vec![Run { datagrams: datagrams(0, 0), ..Run::default() }], ..Cell::default() };
        assert!(!row(&sound, None, false).notes.iter().any(|note| note.contains("datagrams")));
    }

    #[test]
    fn a_saturated_server_is_noted_beside_its_client() {
        assert_eq!(short(Mark::ClientBound, false), "client-bound");
        assert_eq!(short(Mark::ClientBound, true), "server and client both saturated");
    }

    #[test]
    fn cpu_time_that_was_read_too_late_is_noted() {
        let run = Run {
            cpu_late: Some(0.031),
            latency: parrot_load::Latency { count: 1, ..parrot_load::Latency::default() },
            ..Run::default()
        };
        let cell = Cell { runs: vec![run], ..Cell::default() };
        assert_eq!(row(&cell, None, false).notes, ["CPU left out in 1 of 1 runs: read up to 0.031 s too late"]);
    }

    #[test]
    fn short_cpu_times_have_three_digits() {
        assert_eq!([0.0512, 0.205, 3.2, 642.123, 0.0].map(cost), ["0.0512", "0.205", "3.20", "642.12", "0.00"]);
    }

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!([0.0, 999.0, 1000.0, 1_234_567.0].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
