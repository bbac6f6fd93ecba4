//! The sections of the report that have charts, each with how to read them.

use std::fmt::Write as _;

use anyhow::Result;
use parrot_load::units::{round_time, thousands};
use plotters::style::RGBColor;

use crate::results::{Cell, Results, SuiteInfo};
use crate::server::is_one_of_few;
use crate::table::cost;
use parrot_load::charts::{self, Axis, Bar, Chart, Line, escape};

/// Bars are cut at this multiple of Parrot's bar, so that one slow server does not flatten the others.
const CUT: f64 = 4.0;

/// Every section that has figures. Adds their charts to `charts`.
pub(super) fn all(results: &Results, charts: &mut Vec<Chart>) -> Result<String> {
    let sections = [throughput, cpu, latency, memory, series].map(|section| section(results, charts));
    sections.into_iter().collect()
}

/// The suites of 12-byte messages that differ only in their connections, with the fewest first.
fn by_connections(results: &Results) -> Vec<&SuiteInfo> {
    let mut suites: Vec<&SuiteInfo> = results.suites.iter().filter(|info| differs_in_connections(info)).collect();
    suites.sort_by_key(|info| info.connections);
    suites
}

/// Whether the suite is `c` and its number of connections.
fn differs_in_connections(info: &SuiteInfo) -> bool {
    info.name == format!("c{}", info.connections)
}

/// Whether the suite is in a chart of a series of sizes or depths, where a bar of its own would show little more.
fn is_in_a_series(info: &SuiteInfo) -> bool {
    info.name.starts_with("pipeline-") || (info.name.starts_with("size-") && info.size < 1 << 20)
}

/// A line for each server that has a point in any of `suites`.
fn lines_over(results: &Results, suites: &[(f64, &SuiteInfo)], figure: impl Fn(&Cell) -> Option<f64>) -> Vec<Line> {
    let line = |name: &str| {
        let point = |(x, info): &(f64, &SuiteInfo)| Some((*x, figure(results.cell(&info.name, name)?)?));
        let points = suites.iter().filter_map(point).collect();
        Line { name: name.to_string(), colour: colour(results, name), points }
    };
    let lines = results.servers.iter().map(|server| line(&server.name));
    lines.filter(|line| !line.points.is_empty()).collect()
}

pub(super) fn colour(results: &Results, name: &str) -> RGBColor {
    charts::colour(name, results.servers.iter().map(|server| server.name.as_str()))
}

fn throughput(results: &Results, all: &mut Vec<Chart>) -> Result<String> {
    let suites: Vec<(f64, &SuiteInfo)> =
        by_connections(results).into_iter().map(|info| (info.connections as f64, info)).collect();
    let lines = lines_over(results, &suites, |cell| cell.throughput().map(|summary| summary.median));
    if suites.len() < 2 || lines.is_empty() {
        return Ok(String::new());
    }
    let x: Vec<f64> = suites.iter().map(|(x, _)| *x).collect();
    let chart = charts::lines(
        "throughput".into(),
        "Throughput by connections",
        &Axis::at("connections", &x, thousands),
        &Axis::from_zero("messages per second", highest(&lines), thousands),
        &lines,
    )?;
    Ok(section(
        "Throughput by connections",
        "More is better. Where the client was the limit, as the tables note, a faster server cannot show here. \
         Compare the CPU time below instead.",
        &legend(results, lines.iter().map(|line| line.name.as_str())),
        &wide(chart, all),
    ))
}

fn cpu(results: &Results, all: &mut Vec<Chart>) -> Result<String> {
    let mut charts = String::new();
    let mut named = by_connections(results);
    named.extend(results.suites.iter().filter(|info| !differs_in_connections(info) && !is_in_a_series(info)));
    for info in named {
        let mut bars: Vec<Bar> = results.of_suite(&info.name).filter_map(|cell| cpu_bar(results, info, cell)).collect();
        bars.sort_by(|left, right| left.value.total_cmp(&right.value));
        let absent = absent(results, info, |cell| cell.cpu_per_message().is_some());
        let Some(least) = bars.first().map(|bar| bar.value) else {
            charts.push_str(&absent);
            continue;
        };
        let own = results.cell(&info.name, "parrot").and_then(Cell::cpu_per_message).map_or(least, |own| own.median);
        let most = bars.iter().map(|bar| bar.value).fold(0.0, f64::max).min(own * CUT);
        let title = format!("CPU time per message: {}", info.title);
        let chart = wide(charts::bars(format!("cpu-{}", info.name), &title, &bars, most)?, all);
        let _ = write!(charts, "<h3>{}</h3>\n{chart}{absent}", escape(&info.title));
    }
    if charts.is_empty() {
        return Ok(charts);
    }
    Ok(section(
        "CPU time per message",
        "Microseconds of the server's CPU time, including the kernel, within the window. Less is better. \
         The thin line spans the runs. A bar that ends in ▸ was cut.",
        "",
        &charts,
    ))
}

fn cpu_bar(results: &Results, info: &SuiteInfo, cell: &Cell) -> Option<Bar> {
    let cpu = cell.cpu_per_message()?;
    let own = results.cell(&info.name, "parrot").and_then(Cell::cpu_per_message);
    let ratio =
        own.filter(|_| cell.server != "parrot").map(|own| format!("  ({:.2} × parrot)", cpu.median / own.median));
    Some(Bar {
        name: cell.server.clone(),
        colour: colour(results, &cell.server),
        value: cpu.median,
        beyond: None,
        range: cell.is_repeated().then_some((cpu.least, cpu.most)),
        label: format!("{} µs{}", cost(cpu.median), ratio.unwrap_or_default()),
    })
}

fn latency(results: &Results, all: &mut Vec<Chart>) -> Result<String> {
    let mut charts = String::new();
    let mut shown = Vec::new();
    for info in by_connections(results) {
        let curve = |cell: &Cell| {
            let (name, points) = (cell.server.clone(), cell.typical()?.curve.clone());
            Some(Line { colour: colour(results, &name), name, points })
        };
        let lines: Vec<Line> = results.of_suite(&info.name).filter_map(curve).collect();
        if lines.is_empty() {
            continue;
        }
        // The axis starts near the median, because faster messages would take most of the space and differ little.
        let slower = lines.iter().flat_map(|line| &line.points).filter(|(percentile, _)| *percentile >= 50.0);
        let y = Axis::logarithmic("latency", slower.map(|(_, height)| *height), round_time);
        let (name, title) = (format!("latency-{}", info.name), format!("Latency by percentile: {}", info.title));
        let chart = wide(charts::lines(name, &title, &Axis::percentiles(), &y, &lines)?, all);
        let absent = absent(results, info, |cell| cell.sound().next().is_some());
        let _ = write!(charts, "<h3>{}</h3>\n{chart}{absent}", escape(&info.title));
        shown.extend(lines.into_iter().map(|line| line.name));
    }
    if charts.is_empty() {
        return Ok(charts);
    }
    let servers = results
        .servers
        .iter()
        .map(|server| server.name.as_str())
        .filter(|name| shown.iter().any(|shown| shown == name));
    Ok(section(
        "Latency by percentile",
        "From the send to the return of the last byte. Less is better. \
         In this closed loop a message mostly waits for those of the other connections, \
         and a server that stalls also receives fewer messages. \
         The axis starts below the least P50, and faster messages are left out.",
        &legend(results, servers),
        &charts,
    ))
}

fn memory(results: &Results, all: &mut Vec<Chart>) -> Result<String> {
    let most_connections = results.suites.iter().max_by_key(|info| info.connections + info.idle);
    let Some(info) = most_connections.filter(|info| info.connections + info.idle >= 100) else {
        return Ok(String::new());
    };
    let bar = |cell: &Cell| {
        let rest = cell.median(|run| run.memory.rest.map(|bytes| bytes as f64))?;
        let peak = cell.median(|run| run.memory.peak.or(run.memory.loaded).map(|bytes| bytes as f64))?;
        let mebibytes = |bytes: f64| bytes / f64::from(1 << 20);
        let label = format!("{:.1} → {:.1} MiB", mebibytes(rest), mebibytes(peak));
        Some(Bar {
            name: cell.server.clone(),
            colour: colour(results, &cell.server),
            value: rest,
            beyond: Some(peak),
            range: None,
            label,
        })
    };
    let mut bars: Vec<Bar> = results.of_suite(&info.name).filter_map(bar).collect();
    if bars.is_empty() {
        return Ok(String::new());
    }
    bars.sort_by(|left, right| left.beyond.unwrap_or(0.0).total_cmp(&right.beyond.unwrap_or(0.0)));
    let most = bars.iter().filter_map(|bar| bar.beyond).fold(0.0, f64::max);
    Ok(section(
        "Memory",
        &format!(
            "Resident memory before the first connection (full colour) and at its peak (pale). \
             The load is {}. The kernel's socket buffers are not included.",
            escape(&info.title)
        ),
        "",
        &wide(charts::bars("memory".into(), &format!("Memory: {}", info.title), &bars, most)?, all),
    ))
}

fn series(results: &Results, all: &mut Vec<Chart>) -> Result<String> {
    let sizes: Vec<(f64, &SuiteInfo)> = (results.suites.iter())
        .filter(|info| info.name.starts_with("size-") || info.name == "c50")
        .map(|info| (info.size as f64, info))
        .collect();
    let depths: Vec<(f64, &SuiteInfo)> = (results.suites.iter())
        .filter(|info| info.name.starts_with("pipeline-") || info.name == "c50")
        .map(|info| (info.pipeline as f64, info))
        .collect();
    let mut sections = String::new();
    let size = |bytes: f64| match bytes as u64 {
        few if few < 1 << 10 => format!("{few} B"),
        some if some < 1 << 20 => format!("{} KiB", some >> 10),
        many => format!("{} MiB", many >> 20),
    };
    let series = [
        ("Size of messages", "size", "bytes in a message", sizes),
        ("Pipelining", "pipeline", "messages under way on each connection", depths),
    ];
    for (title, name, x_title, suites) in series {
        let few = |line: &Line| is_one_of_few(&line.name) || line.name == "go-copy";
        let mut lines = lines_over(results, &suites, |cell| cell.cpu_per_message().map(|summary| summary.median));
        lines.retain(few);
        if suites.len() < 2 || lines.is_empty() {
            continue;
        }
        let x: Vec<f64> = suites.iter().map(|(x, _)| *x).collect();
        let heights = lines.iter().flat_map(|line| &line.points).map(|(_, height)| *height);
        let y = Axis::logarithmic("CPU per message", heights, round_time);
        let x = if title == "Pipelining" { Axis::at(x_title, &x, thousands) } else { Axis::at(x_title, &x, size) };
        let chart = charts::lines(name.into(), title, &x, &y, &lines)?;
        let text = format!(
            "The server's CPU time per message. Less is better. Both axes are logarithmic.{}",
            steps(&suites, size)
        );
        let legend = legend(results, lines.iter().map(|line| line.name.as_str()));
        sections.push_str(&section(title, &text, &legend, &wide(chart, all)));
    }
    Ok(sections)
}

/// A sentence about the connections of each size, if they differ.
fn steps(suites: &[(f64, &SuiteInfo)], size: impl Fn(f64) -> String) -> String {
    let mut steps: Vec<(usize, Vec<String>)> = Vec::new();
    for (_, info) in suites {
        let name = size(info.size as f64);
        match steps.iter_mut().find(|(connections, _)| *connections == info.connections) {
            Some((_, names)) => names.push(name),
            None => steps.push((info.connections, vec![name])),
        }
    }
    if steps.len() < 2 {
        return String::new();
    }
    let steps = steps.iter().map(|(connections, names)| format!("{} on {connections} connections", names.join(", ")));
    format!(" The number of connections differs too: {}.", steps.collect::<Vec<_>>().join("; "))
}

/// A paragraph that names the servers that are not `shown` in a chart, and why.
pub(super) fn absent(results: &Results, info: &SuiteInfo, shown: impl Fn(&Cell) -> bool) -> String {
    let why = |cell: &Cell| match cell.trouble() {
        Some(trouble) if cell.sound().next().is_none() => trouble,
        _ => "its CPU time is unknown, see the tables".into(),
    };
    let names = results.of_suite(&info.name).filter(|cell| !shown(cell));
    let names = names.map(|cell| format!("{} ({})", cell.server, why(cell))).collect::<Vec<_>>().join(", ");
    if names.is_empty() { names } else { format!("<p>Not shown: {}.</p>\n", escape(&names)) }
}

/// Adds `chart` to `all` and returns its element.
pub(super) fn wide(chart: Chart, all: &mut Vec<Chart>) -> String {
    let text = charts::wide(&chart);
    all.push(chart);
    text
}

fn highest(lines: &[Line]) -> f64 {
    lines.iter().flat_map(|line| &line.points).map(|(_, height)| *height).fold(0.0, f64::max)
}

pub(super) fn section(title: &str, text: &str, legend: &str, charts: &str) -> String {
    format!("<section>\n<h2>{title}</h2>\n<p>{text}</p>\n{legend}{charts}</section>\n")
}

fn legend<'a>(results: &Results, names: impl Iterator<Item = &'a str>) -> String {
    charts::legend(names.map(|name| (name, colour(results, name))))
}
