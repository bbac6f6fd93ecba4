//! `--report`: one page about a run or a search, which needs no other file and no script. Its looks are those of the
//! benchmark's page.

mod charts;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use anyhow::Result;

use super::history::History;
use crate::charts::{escape, head, wide};
use crate::latency::Latency;
use crate::report::Load;
use crate::search::chart;
use crate::units::{microseconds, thousands};
use crate::{Found, Report};

/// The page about a run.
///
/// # Errors
///
/// None that is expected, because the charts are drawn to memory.
pub(super) fn of_run(report: &Report, history: &History) -> Result<String> {
    let notes: Vec<String> = report.marks.iter().map(|mark| report.note(*mark)).collect();
    let mut page = begin(&format!("Load on {}", report.load.target), &report.load.to_string(), &notes);
    page.push_str(&cards(report));
    page.push_str(&charts::over_time(report, history)?);
    page.push_str(&charts::by_percentile(report)?);
    page.push_str(&latencies(report));
    page.push_str(&failures(report));
    let opened = SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(report.opened_at).unwrap_or_default());
    let opened = opened.and_then(|time| jiff::Timestamp::try_from(time).ok()).map(|time| format!("{time:.0}"));
    page.push_str(&settings(&report.load, opened));
    page.push_str("</main>\n</html>\n");
    Ok(page)
}

/// The page about a search.
///
/// # Errors
///
/// None that is expected, because the chart is drawn to memory.
pub(super) fn of_search(found: &Found) -> Result<String> {
    let text = found.to_string();
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let mut page = begin(&format!("Highest rate of {}", found.load.target), first, &[]);
    let rate = |rate: Option<f64>| rate.map_or("none".into(), thousands);
    let sure = if found.confirmed { "" } else { "not confirmed" };
    let limit = rest.lines().find_map(|line| line.trim_start().strip_prefix("limit")).unwrap_or_default();
    page.push_str(&format!(
        "<div class=\"cards\">\n{}{}{}</div>\n",
        card(
            !found.confirmed,
            "Highest rate that held",
            &rate(found.rate),
            &["messages per second".into(), sure.into()]
        ),
        card(!found.confirmed, "Lowest rate that failed", &rate(found.failed), &["messages per second".into()]),
        card(!found.confirmed, "Limit", limit_word(found), &[limit.trim().into()]),
    ));
    let legend = crate::charts::legend(chart::PERCENTILES.map(|(name, colour, _)| (name, colour)));
    page.push_str(&section(
        "Latency by rate",
        "From when messages were due until their answers were back. Both axes are logarithmic. \
         A rate that was measured several times has the last of its figures.",
        &(legend + &wide(&chart::chart(found)?)),
    ));
    page.push_str(&steps(found));
    page.push_str(&settings(&found.load, None));
    page.push_str("</main>\n</html>\n");
    Ok(page)
}

fn limit_word(found: &Found) -> &'static str {
    match found.limit {
        crate::Limit::Server => "server",
        crate::Limit::Client => "client",
        crate::Limit::Nothing => "none",
        crate::Limit::Unknown => "unknown",
    }
}

/// A page up to its first section. `notes` say why its figures are doubtful.
fn begin(title: &str, lead: &str, notes: &[String]) -> String {
    let mut page = head(title);
    let _ = writeln!(page, "<h1>{}</h1>\n<p class=\"lead\">{}</p>", escape(title), escape(lead));
    for note in notes {
        let _ = writeln!(page, "<p class=\"lead\"><strong>{}</strong></p>", escape(note));
    }
    page
}

/// The main figures. If there is a reason to doubt them, they are greyed out.
fn cards(report: &Report) -> String {
    let doubtful = !report.marks.is_empty();
    let time = |time: Option<f64>| time.map_or("-".into(), microseconds);
    let Latency { p50, p99, p999, max, .. } = report.latency;
    let asked = report.load.asked(report.window);
    let asked = asked.map(|rate| format!("{} asked for", thousands(rate * report.reports as f64)));
    let throughput = [
        Some("messages per second".to_owned()),
        asked,
        Some(format!("{:.1} MB/s each way", report.bytes_per_second / 1e6)),
        Some(format!("{} in {:.2} s", thousands(report.messages as f64), report.window)),
    ];
    let throughput: Vec<String> = throughput.into_iter().flatten().collect();
    let mut cards = card(doubtful, "Throughput", &thousands(report.messages_per_second), &throughput);
    let others = [format!("P50 {}", time(p50)), format!("P99.9 {}", time(p999)), format!("longest {}", time(max))];
    cards.push_str(&card(doubtful, "P99 of the latency", &time(p99), &others));
    let total = report.failures.total();
    let mut facts = if total > 0 { vec![report.failures.to_string()] } else { Vec::new() };
    facts.extend((report.unsent > 0).then(|| format!("{} never sent", thousands(report.unsent as f64))));
    facts.extend(report.datagrams.map(|datagrams| format!("{} datagrams lost", thousands(datagrams.lost as f64))));
    cards.push_str(&card(
        total > 0,
        "Failures",
        &if total > 0 { thousands(total as f64) } else { "none".into() },
        &facts,
    ));
    if let Some(busiest) = report.client.busiest {
        let facts = [
            Some("of a core, the busiest thread".to_owned()),
            report.client.cpu_per_message.map(|cpu| format!("{cpu:.2} µs per message")),
            report.client.waited.map(|waited| format!("{:.0} % waiting for a core", waited * 100.0)),
        ];
        let facts: Vec<String> = facts.into_iter().flatten().collect();
        cards.push_str(&card(doubtful, "The client's own CPU", &format!("{:.0} %", busiest * 100.0), &facts));
    }
    format!("<div class=\"cards\">\n{cards}</div>\n")
}

fn card(doubtful: bool, title: &str, figure: &str, facts: &[String]) -> String {
    let facts: Vec<String> = facts.iter().filter(|fact| !fact.is_empty()).map(|fact| escape(fact)).collect();
    format!(
        "<div class=\"card{}\"><h3>{}</h3><p class=\"figure\">{}</p><p>{}</p></div>\n",
        if doubtful { " doubtful" } else { "" },
        escape(title),
        escape(figure),
        facts.join("<br>")
    )
}

fn section(title: &str, text: &str, contents: &str) -> String {
    format!("<section>\n<h2>{title}</h2>\n<p>{text}</p>\n{contents}</section>\n")
}

/// A table, of which the first row is the headings.
fn table(rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = String::from("<div class=\"wide\"><table>\n");
    for (place, row) in rows.enumerate() {
        let tag = if place == 0 { "th" } else { "td" };
        let cells: String = row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
        let _ = writeln!(text, "<tr>{cells}</tr>");
    }
    text + "</table></div>\n"
}

/// A list of terms, each with its description.
fn terms<'a>(terms: impl Iterator<Item = (&'a str, String)>) -> String {
    let terms = terms.map(|(term, text)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(term), escape(&text)));
    format!("<dl>\n{}</dl>\n", terms.collect::<String>())
}

/// All figures of all latencies.
fn latencies(report: &Report) -> String {
    let headings = ["", "messages", "mean", "P50", "P90", "P99", "P99.9", "longest"].map(String::from).to_vec();
    let connecting = if report.datagrams.is_some() { "probing" } else { "connecting" };
    let rows = [
        ("latency", Some(report.latency)),
        ("from the real send", report.service),
        ("the client's own delay", report.lateness),
        (connecting, Some(report.connecting.latency)),
    ];
    let rows = rows.into_iter().filter_map(|(name, latency)| {
        let Latency { count, mean, p50, p90, p99, p999, max, .. } = latency?;
        let times = [mean, p50, p90, p99, p999, max].map(|time| time.map_or("-".into(), microseconds));
        Some([name.to_owned(), thousands(count as f64)].into_iter().chain(times).collect())
    });
    section("All latencies", "", &table(std::iter::once(headings).chain(rows)))
}

/// What failed, and how connections ended.
fn failures(report: &Report) -> String {
    let ends = &report.failures.ends;
    let connecting = &report.connecting;
    let facts = [
        ("failures", Some(report.failures.to_string())),
        ("ended", (!ends.are_none()).then(|| ends.to_string())),
        ("never sent", (report.unsent > 0).then(|| thousands(report.unsent as f64))),
        ("datagrams", report.datagrams.map(|datagrams| datagrams.to_string().replace("\n  answers    ", ";"))),
        ("connecting", connecting.error.clone()),
        ("advice", connecting.advice.clone()),
        ("connections", Some(format!("{} opened, {} open at the end", connecting.opened, connecting.open))),
    ];
    let facts = facts.into_iter().filter_map(|(term, fact)| Some((term, fact?)));
    section("Failures", "Of the whole run, with its warm-up.", &terms(facts))
}

/// Every step of a search.
fn steps(found: &Found) -> String {
    let headings = ["rate", "answered", "P50", "P90", "P99", "P99.9", "errors", ""].map(String::from).to_vec();
    let rows = found.steps.iter().map(|step| {
        let Latency { p50, p90, p99, p999, .. } = step.latency;
        let rates = [step.rate, step.messages_per_second].map(thousands);
        let times = [p50, p90, p99, p999].map(|time| time.map_or("-".into(), microseconds));
        let verdict = if step.held {
            "holds"
        } else if step.client_bound {
            "client"
        } else {
            "fails"
        };
        let last = [format!("{:.3} %", step.errors * 100.0), verdict.to_owned()];
        rates.into_iter().chain(times).chain(last).collect()
    });
    let text = "In their order. A step at which the client itself was why an objective failed counts only if that \
                happens twice.";
    section("Steps", text, &table(std::iter::once(headings).chain(rows)))
}

/// What was run, field by field, as in the report as JSON.
fn settings(load: &Load, opened: Option<String>) -> String {
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(load) else { return String::new() };
    let fields: Vec<(String, String)> = fields
        .into_iter()
        .filter_map(|(name, value)| {
            let text = match value {
                serde_json::Value::Null => return None,
                serde_json::Value::String(text) => text,
                serde_json::Value::Array(texts) if texts.is_empty() => return None,
                other => other.to_string(),
            };
            Some((name.replace('_', " "), text))
        })
        .collect();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let command = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>();
    let facts = fields.iter().map(|(name, text)| (name.as_str(), text.clone())).chain(
        [("window opened", opened), ("command", Some(command.join(" "))), ("version of parrot-load", Some(version))]
            .into_iter()
            .filter_map(|(term, fact)| Some((term, fact?))),
    );
    section("The load", "Times are in seconds, and sizes in bytes.", &terms(facts))
}
