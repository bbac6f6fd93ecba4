//! The results as a person reads them: on the terminal, one table a suite.

use std::fmt::Write as _;

use parrot_load::{Mark, microseconds};

use crate::results::{Cell, Results, Summary};

/// What the columns of a table are called.
pub(crate) const HEADINGS: [&str; 10] = [
    "server",
    "messages/s",
    "CPU µs/message",
    "× parrot",
    "cores",
    "P50",
    "P99",
    "P99.9",
    "MiB at rest, peak",
    "a connection",
];

/// One server's row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) columns: [String; HEADINGS.len()],
    /// What has to be known about it.
    pub(crate) notes: Vec<String>,
}

/// The rows of one suite.
pub(crate) fn rows(results: &Results, suite: &str) -> Vec<Row> {
    let parrot = results.cell(suite, "parrot").and_then(Cell::cpu_per_message);
    results.of_suite(suite).map(|cell| row(cell, parrot)).collect()
}

fn row(cell: &Cell, parrot: Option<Summary>) -> Row {
    let (throughput, cpu) = (cell.throughput(), cell.cpu_per_message());
    let spread = |summary: Option<Summary>| match summary {
        Some(summary) if cell.is_repeated() => format!(" ±{:>2.0} %", summary.spread() * 50.0),
        _ => String::new(),
    };
    let with_spread = |summary: Option<Summary>, form: fn(f64) -> String| {
        format!("{}{}", shown(summary.map(|summary| summary.median), form), spread(summary))
    };
    let ratio =
        cpu.zip(parrot).filter(|(_, parrot)| parrot.median > 0.0).map(|(own, parrot)| own.median / parrot.median);
    let latency = |quantile: fn(&parrot_load::Latency) -> f64| {
        shown(cell.median(|run| Some(quantile(&run.latency))), microseconds)
    };
    let rest = shown(cell.median(|run| run.memory.rest.map(|bytes| bytes as f64)), mebibytes);
    let peak = shown(cell.median(|run| run.memory.peak.or(run.memory.loaded).map(|bytes| bytes as f64)), mebibytes);
    let connection = cell.median(|run| run.memory.per_connection);
    let mut notes: Vec<String> = cell.trouble().into_iter().collect();
    notes.extend(cell.marks().iter().map(|mark| short(*mark).to_string()));
    notes.extend(
        cell.dropped().map(|(dropped, all)| {
            format!("dropped {} of {} log lines", thousands(dropped as f64), thousands(all as f64))
        }),
    );
    notes.extend(cell.disturbed().map(|others| format!("disturbed: other programs used {others:.1} cores")));
    Row {
        columns: [
            cell.peer.clone(),
            with_spread(throughput, thousands),
            with_spread(cpu, |value| format!("{value:.2}")),
            shown(ratio, |value| format!("{value:.2}")),
            shown(cell.median(|run| run.cores), |value| format!("{value:.2}")),
            latency(|latency| latency.p50),
            latency(|latency| latency.p99),
            latency(|latency| latency.p999),
            if rest.is_empty() { peak } else { format!("{rest}, {peak}") },
            shown(connection, bytes),
        ],
        notes,
    }
}

/// The table of one suite, as text.
pub(crate) fn text(results: &Results, suite: &str) -> String {
    let rows = rows(results, suite);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.columns.get(column)).map(|text| text.chars().count());
        cells.chain(HEADINGS.get(column).map(|heading| heading.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    let line = |columns: &[String]| {
        let padded = columns.iter().zip(&widths).enumerate().map(|(place, (text, width))| match place {
            0 => format!("{text:<width$}"),
            _ => format!("{text:>width$}"),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  {}", line(&HEADINGS.map(str::to_string)));
    for row in &rows {
        let notes = if row.notes.is_empty() { String::new() } else { format!("  ({})", row.notes.join("; ")) };
        let _ = writeln!(text, "  {}{notes}", line(&row.columns));
    }
    text
}

/// All tables as Markdown, to be kept with the commit they describe.
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = String::new();
    for info in &results.suites {
        let _ = writeln!(text, "### {}\n\n{}\n\n| {} |", info.title, info.load, HEADINGS.join(" | "));
        let _ = writeln!(text, "|---|{}", "--:|".repeat(HEADINGS.len() - 1));
        for row in rows(results, &info.name) {
            let _ = writeln!(text, "| {} |", row.columns.join(" | "));
        }
        for row in rows(results, &info.name).iter().filter(|row| !row.notes.is_empty()) {
            let _ = writeln!(text, "\n{}: {}", row.columns[0], row.notes.join("; "));
        }
        text.push('\n');
    }
    text
}

/// A mark in a few words.
pub(crate) fn short(mark: Mark) -> &'static str {
    match mark {
        Mark::ClientBound => "client-bound",
        Mark::Contradiction => "contradiction: some connections waited in vain",
        Mark::RateNotReached => "rate not reached",
        Mark::ConnectionsLost => "connections lost",
    }
}

fn shown(value: Option<f64>, form: impl Fn(f64) -> String) -> String {
    value.map(form).unwrap_or_default()
}

/// `123,456`.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
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
    fn a_server_that_failed_has_a_row_of_reasons_and_no_figures() {
        let failed = Run { failures: 3, failed: "3 timed out".into(), messages_per_second: 1e6, ..Run::default() };
        let cell = Cell { suite: "c50".into(), peer: "liar".into(), runs: vec![failed], errors: Vec::new() };
        let row = row(&cell, None);
        assert_eq!(row.columns.iter().filter(|column| !column.is_empty()).collect::<Vec<_>>(), ["liar"]);
        assert_eq!(row.notes, ["3 timed out"]);
    }

    #[test]
    fn lost_log_lines_are_noted() {
        let log = Some(LogLines { written: 9000, dropped: 1000 });
        let run = Run { log, ..Run::default() };
        let cell = Cell { suite: "c50".into(), peer: "parrot-clf".into(), runs: vec![run], errors: Vec::new() };
        assert!(row(&cell, None).notes.iter().any(|note| note == "dropped 1,000 of 10,000 log lines"));
    }

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!([0.0, 999.0, 1000.0, 1_234_567.0].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
