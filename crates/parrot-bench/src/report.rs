//! `report.html`: one file that needs nothing else, for someone who has a minute.

use std::fmt::Write as _;

use anyhow::Result;

use crate::charts::{self, Axis, Bar, Line, Scale};
use crate::results::{Cell, Results, SuiteInfo};
use crate::table::{self, thousands};

/// Bars are cut at this many times Parrot's own, so that one slow server does not flatten the others.
const CUT: f64 = 4.0;

/// The page.
pub(crate) fn html(results: &Results) -> Result<String> {
    let mut page = String::from(include_str!("report/head.html"));
    page.push_str(&lead(results));
    page.push_str(&cards(results));
    for section in [throughput(results)?, cpu(results)?, latency(results)?, memory(results)?, ladders(results)?] {
        page.push_str(&section);
    }
    page.push_str(&tables(results));
    page.push_str(&method(results));
    page.push_str(include_str!("report/limits.html"));
    page.push_str(&environment(results));
    page.push_str("</main>\n</html>\n");
    Ok(page)
}

/// What was measured, in a paragraph.
fn lead(results: &Results) -> String {
    let environment = &results.environment;
    let cores = match (&results.method.server_cores[..], &results.method.client_cores[..]) {
        ([], _) | (_, []) => "Server and client shared the cores.".to_string(),
        (server, client) => {
            format!("The server had {} of the cores to itself, the load generator {}.", server.len(), client.len())
        }
    };
    let interrupted = if results.interrupted {
        " <strong>The measurement was interrupted: this is what there was.</strong>"
    } else {
        ""
    };
    let others = results.others();
    let disturbed = others.filter(|others| *others > table::DISTURBED).map(|others| {
        format!(" <strong>Meanwhile other programs used {others:.1} cores: expect wide spreads, and repeat it on a quiet machine.</strong>")
    });
    let disturbed = disturbed.unwrap_or_default();
    format!(
        "<h1>Parrot, measured</h1>\n<p class=\"lead\">Echo servers under the same load on one machine ({}, {} cores{}), {}. \
         Each connection sends a message, waits until every byte of it is back, checks them, and sends the next. {cores} \
         What compares the servers is <em>CPU time for each message</em>: throughput also depends on the client.{interrupted}{disturbed}</p>\n",
        escape(&environment.cpu),
        environment.cores,
        if environment.virtual_machine { ", a virtual machine" } else { "" },
        escape(&environment.date),
    )
}

/// The essence: Parrot's figures beside those of the bare loop.
fn cards(results: &Results) -> String {
    let mut cards = String::new();
    for suite in ["c50", "c1000", "c10000"] {
        let Some(info) = results.suites.iter().find(|info| info.name == suite) else { continue };
        let (own, plain) = (results.cell(suite, "parrot"), results.cell(suite, "plain"));
        let Some(cpu) = own.and_then(Cell::cpu_per_message) else { continue };
        let ratio = plain
            .and_then(Cell::cpu_per_message)
            .map(|plain| format!("{:.2} × the bare loop", cpu.median / plain.median));
        let rate = own.and_then(Cell::throughput).map(|rate| format!("{} messages a second", thousands(rate.median)));
        let memory = own.and_then(|own| own.median(|run| run.memory.peak.map(|bytes| bytes as f64 / 1048576.0)));
        let memory = memory.map(|memory| format!("{memory:.1} MiB at most"));
        let facts: Vec<String> = [ratio, rate, memory].into_iter().flatten().collect();
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            cards,
            "<div class=\"card\"><h3>{}</h3><p class=\"figure\">{:.2} µs</p><p>CPU a message<br>{}</p></div>",
            escape(&info.title),
            cpu.median,
            facts.join("<br>")
        );
    }
    if cards.is_empty() { cards } else { format!("<div class=\"cards\">\n{cards}</div>\n") }
}

/// Suites of 12-byte messages that differ in their connections only, fewest first.
fn by_connections(results: &Results) -> Vec<&SuiteInfo> {
    let plain = |info: &&SuiteInfo| info.idle == 0 && info.size == 12 && info.pipeline == 1 && !info.reconnect;
    let mut suites: Vec<&SuiteInfo> = results.suites.iter().filter(plain).collect();
    suites.sort_by_key(|info| info.connections);
    suites
}

/// A line for each server that has a point in at least two of `suites`.
fn series(results: &Results, suites: &[(f64, &SuiteInfo)], figure: impl Fn(&Cell) -> Option<f64>) -> Vec<Line> {
    let line = |name: &str| {
        let point = |(x, info): &(f64, &SuiteInfo)| Some((*x, figure(results.cell(&info.name, name)?)?));
        Line { name: name.to_string(), points: suites.iter().filter_map(point).collect() }
    };
    let lines = results.peers.iter().map(|peer| line(&peer.name));
    lines.filter(|line| line.points.len() > 1).collect()
}

fn throughput(results: &Results) -> Result<String> {
    let suites: Vec<(f64, &SuiteInfo)> =
        by_connections(results).into_iter().map(|info| (info.connections as f64, info)).collect();
    let lines = series(results, &suites, |cell| cell.throughput().map(|summary| summary.median));
    if lines.is_empty() {
        return Ok(String::new());
    }
    let x: Vec<f64> = suites.iter().map(|(x, _)| *x).collect();
    let chart = charts::lines(
        &Axis::at("connections", &x, thousands),
        &Axis::from_zero("messages a second", highest(&lines), thousands),
        &lines,
    )?;
    Ok(section(
        "Throughput by connections",
        "More is better. Where the client had no time left, a faster server shows no more here (the tables say where): \
         then the CPU time below is what tells them apart.",
        &legend(lines.iter().map(|line| line.name.as_str())),
        &chart,
    ))
}

fn cpu(results: &Results) -> Result<String> {
    let mut charts = String::new();
    let mut named = by_connections(results);
    named.extend(results.suites.iter().filter(|info| info.idle > 0 || info.reconnect || info.size >= 1 << 20));
    for info in named {
        let mut bars: Vec<Bar> = results.of_suite(&info.name).filter_map(|cell| cpu_bar(results, info, cell)).collect();
        bars.sort_by(|left, right| left.value.total_cmp(&right.value));
        let Some(least) = bars.first().map(|bar| bar.value) else { continue };
        let own = results.cell(&info.name, "parrot").and_then(Cell::cpu_per_message).map_or(least, |own| own.median);
        let most = bars.iter().map(|bar| bar.value).fold(0.0, f64::max).min(own * CUT);
        let _ = write!(charts, "<h3>{}</h3>\n{}", escape(&info.title), charts::bars(&bars, most)?);
    }
    if charts.is_empty() {
        return Ok(charts);
    }
    Ok(section(
        "CPU time for each message",
        "Microseconds of the server's CPU time, kernel included, over exactly the measured window. Less is better. The dark \
         line is where the repeats lie; a bar that ends in ▸ was cut.",
        "",
        &charts,
    ))
}

fn cpu_bar(results: &Results, info: &SuiteInfo, cell: &Cell) -> Option<Bar> {
    let cpu = cell.cpu_per_message()?;
    let own = results.cell(&info.name, "parrot").and_then(Cell::cpu_per_message);
    let ratio = own.filter(|_| cell.peer != "parrot").map(|own| format!("  ({:.2} × parrot)", cpu.median / own.median));
    Some(Bar {
        name: cell.peer.clone(),
        value: cpu.median,
        beyond: None,
        range: (cell.runs.len() > 1).then_some((cpu.least, cpu.most)),
        label: format!("{:.2} µs{}", cpu.median, ratio.unwrap_or_default()),
    })
}

fn latency(results: &Results) -> Result<String> {
    let mut charts = String::new();
    let mut shown = Vec::new();
    for info in by_connections(results) {
        let curve = |cell: &Cell| Some(Line { name: cell.peer.clone(), points: cell.typical()?.curve.clone() });
        let lines: Vec<Line> = results.of_suite(&info.name).filter_map(curve).collect();
        if lines.is_empty() {
            continue;
        }
        let heights = lines.iter().flat_map(|line| &line.points).map(|(_, height)| *height);
        let y = Axis::logarithmic("latency", heights, round_time);
        let _ =
            write!(charts, "<h3>{}</h3>\n{}", escape(&info.title), charts::lines(&Axis::percentiles(), &y, &lines)?);
        shown.extend(lines.into_iter().map(|line| line.name));
    }
    if charts.is_empty() {
        return Ok(charts);
    }
    let peers =
        results.peers.iter().map(|peer| peer.name.as_str()).filter(|name| shown.iter().any(|shown| shown == name));
    Ok(section(
        "Latency by percentile",
        "From the send to the last byte's return. Less is better. This is a closed loop: with many connections a message \
         mostly waits for its turn, and a server that stalls is also asked less.",
        &legend(peers),
        &charts,
    ))
}

fn memory(results: &Results) -> Result<String> {
    let most_connections = results.suites.iter().max_by_key(|info| info.connections + info.idle);
    let Some(info) = most_connections.filter(|info| info.connections + info.idle >= 100) else {
        return Ok(String::new());
    };
    let bar = |cell: &Cell| {
        let rest = cell.median(|run| run.memory.rest.map(|bytes| bytes as f64))?;
        let peak = cell.median(|run| run.memory.peak.or(run.memory.loaded).map(|bytes| bytes as f64))?;
        let mebibytes = |bytes: f64| bytes / f64::from(1 << 20);
        let label = format!("{:.1} → {:.1} MiB", mebibytes(rest), mebibytes(peak));
        Some(Bar { name: cell.peer.clone(), value: rest, beyond: Some(peak), range: None, label })
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
            "Resident before the first connection (full colour) and at most (pale), under: {}. The kernel's socket buffers are in none of it.",
            escape(&info.title)
        ),
        "",
        &charts::bars(&bars, most)?,
    ))
}

fn ladders(results: &Results) -> Result<String> {
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
    let ladders = [
        ("Size of messages", "bytes in a message", sizes),
        ("Pipelining", "messages under way on each connection", depths),
    ];
    for (title, x_title, suites) in ladders {
        let few = |line: &Line| matches!(line.name.as_str(), "parrot" | "plain" | "mio" | "tokio-1" | "go-copy");
        let mut lines = series(results, &suites, |cell| cell.cpu_per_message().map(|summary| summary.median));
        lines.retain(few);
        if suites.len() < 2 || lines.is_empty() {
            continue;
        }
        let x: Vec<f64> = suites.iter().map(|(x, _)| *x).collect();
        let heights = lines.iter().flat_map(|line| &line.points).map(|(_, height)| *height);
        let y = Axis { scale: Scale::Logarithmic, ..Axis::logarithmic("CPU a message", heights, round_time) };
        let x = if title == "Pipelining" { Axis::at(x_title, &x, thousands) } else { Axis::at(x_title, &x, size) };
        let chart = charts::lines(&x, &y, &lines)?;
        let text = "Server CPU time for each message. Less is better. Both axes count by factors.";
        sections.push_str(&section(title, text, &legend(lines.iter().map(|line| line.name.as_str())), &chart));
    }
    Ok(sections)
}

/// A round number of microseconds, for an axis.
fn round_time(microseconds: f64) -> String {
    match microseconds {
        small if small < 1e3 => format!("{small} µs"),
        middle if middle < 1e6 => format!("{} ms", middle / 1e3),
        large => format!("{} s", large / 1e6),
    }
}

fn highest(lines: &[Line]) -> f64 {
    lines.iter().flat_map(|line| &line.points).map(|(_, height)| *height).fold(0.0, f64::max)
}

fn section(title: &str, text: &str, legend: &str, charts: &str) -> String {
    format!("<section>\n<h2>{title}</h2>\n<p>{text}</p>\n{legend}{charts}</section>\n")
}

fn legend<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let entries: Vec<String> = names
        .map(|name| {
            format!("<li><i style=\"background:{}\"></i>{}</li>", charts::css(charts::colour(name)), escape(name))
        })
        .collect();
    format!("<ul class=\"legend\">{}</ul>\n", entries.join(""))
}

fn tables(results: &Results) -> String {
    let mut text = String::from(
        "<section>\n<h2>All figures</h2>\n<p>Medians of the repeats; ± is half the distance between the least and the most.</p>\n",
    );
    for info in &results.suites {
        let _ = writeln!(
            text,
            "<h3>{} <small>{}</small></h3>\n<p>{}</p>\n<div class=\"wide\"><table><tr>",
            escape(&info.title),
            info.name,
            escape(&info.load)
        );
        table::HEADINGS.iter().for_each(|heading| text.push_str(&format!("<th>{heading}</th>")));
        text.push_str("</tr>\n");
        for row in table::rows(results, &info.name) {
            let own = if row.columns.first().is_some_and(|name| name == "parrot") { " class=\"own\"" } else { "" };
            let _ = write!(text, "<tr{own}>");
            row.columns.iter().for_each(|column| text.push_str(&format!("<td>{}</td>", escape(column))));
            text.push_str("</tr>\n");
            if !row.notes.is_empty() {
                let (width, notes) = (table::HEADINGS.len(), escape(&row.notes.join("; ")));
                let _ = writeln!(text, "<tr class=\"note\"><td colspan=\"{width}\">{notes}</td></tr>");
            }
        }
        text.push_str("</table></div>\n");
    }
    text.push_str("</section>\n");
    text
}

fn method(results: &Results) -> String {
    let method = &results.method;
    let mut text = format!(
        "<section>\n<h2>How it was measured</h2>\n<p>For each figure: {} {} of {:.1} s after {:.1} s of warm-up, a fresh server for each, \
         the servers taking turns in alternating order. All connections are open before the first message. The load generator \
         ({} {}) compares every byte that comes back; a failure is counted and shown, never skipped. CPU time is the system's own \
         account of the server's process, read when the window opens and closes.</p>\n<dl>\n",
        method.repeats,
        if method.repeats == 1 { "run" } else { "runs" },
        method.window,
        method.warmup,
        method.client_threads,
        if method.client_threads == 1 { "thread" } else { "threads" },
    );
    for peer in &results.peers {
        let _ = writeln!(text, "<dt>{}</dt><dd>{}</dd>", escape(&peer.name), escape(&peer.about));
    }
    for (name, why) in &results.missing {
        let _ = writeln!(text, "<dt>{}</dt><dd>did not take part: {}</dd>", escape(name), escape(why));
    }
    text.push_str("</dl>\n</section>\n");
    text
}

fn environment(results: &Results) -> String {
    let environment = &results.environment;
    let list = |cores: &[usize]| cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut facts = vec![
        ("system".to_string(), format!("{} {}", environment.system, environment.kernel)),
        (
            "CPU".into(),
            format!(
                "{}, {} cores{}",
                environment.cpu,
                environment.cores,
                if environment.virtual_machine { ", virtual machine" } else { "" }
            ),
        ),
        ("server's cores".into(), list(&results.method.server_cores)),
        ("client's cores".into(), list(&results.method.client_cores)),
        ("frequency governor".into(), environment.governor.clone().unwrap_or_else(|| "not told".into())),
        ("descriptor limit".into(), environment.descriptors.map_or("unlimited".into(), |limit| limit.to_string())),
        ("load average before".into(), environment.load_average.map_or("not told".into(), |load| load.to_string())),
        ("commit".into(), environment.commit.clone()),
        ("arguments".into(), environment.arguments.join(" ")),
    ];
    facts.extend(environment.network.iter().cloned());
    facts.extend(environment.versions.iter().cloned());
    let mut text = String::from("<section>\n<h2>Where</h2>\n<dl>\n");
    for (name, fact) in facts {
        let _ = writeln!(text, "<dt>{}</dt><dd>{}</dd>", escape(&name), escape(&fact));
    }
    text.push_str("</dl>\n</section>\n");
    text
}

/// `text` as a page may contain it.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::results::{Memory, Method, PeerInfo, Run, SCHEMA};

    /// Results of `suites`, in which every server was as fast as its name is long.
    fn results(suites: &[(&str, usize)], peers: &[&str]) -> Results {
        let mut results = Results {
            schema: SCHEMA.into(),
            environment: Environment::read(),
            method: Method {
                warmup: 0.5,
                window: 2.0,
                repeats: 2,
                server_cores: vec![0],
                client_cores: vec![1],
                client_threads: 1,
            },
            suites: Vec::new(),
            peers: Vec::new(),
            missing: [("go".to_string(), "Go is <not> installed".to_string())].into(),
            cells: Vec::new(),
            interrupted: false,
        };
        results.peers.extend(peers.iter().map(|name| PeerInfo { name: (*name).into(), about: "a <server>".into() }));
        for (name, connections) in suites {
            results.suites.push(SuiteInfo {
                name: (*name).into(),
                title: format!("{connections} connections"),
                load: "closed loop".into(),
                connections: *connections,
                idle: 0,
                size: 12,
                pipeline: 1,
                reconnect: false,
            });
            for peer in peers {
                let run = |factor: f64| Run {
                    messages_per_second: factor * 1e5 / peer.len() as f64,
                    cpu_per_message: Some(factor * peer.len() as f64),
                    curve: vec![(0.0, 10.0), (50.0, 20.0), (99.0, 300.0)],
                    memory: Memory {
                        rest: Some(2 << 20),
                        loaded: Some(3 << 20),
                        peak: Some(4 << 20),
                        per_connection: Some(99.0),
                    },
                    ..Run::default()
                };
                results.cell_mut(name, peer).runs.extend([run(1.0), run(1.1)]);
            }
        }
        results
    }

    #[test]
    fn every_chart_begins_a_line_of_its_own_and_the_page_needs_nothing_else() {
        let page = html(&results(&[("c50", 50), ("c1000", 1000)], &["parrot", "plain"])).expect("a page");
        let charts = page.matches("<svg ").count();
        assert_eq!(page.lines().filter(|line| line.starts_with("<svg ")).count(), charts);
        assert_eq!(charts, 6, "throughput, CPU and latency for two suites each, memory");
        for outside in ["<script", "<link", "src=", "url(", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
        for inside in ["1.20 × the bare loop", "6.30 µs", "a &lt;server&gt;", "Go is &lt;not&gt; installed"] {
            assert!(page.contains(inside), "{inside}");
        }
    }

    #[test]
    fn a_page_is_made_of_whatever_there_is() {
        for (suites, peers) in [(&[][..], &[][..]), (&[("c50", 50)], &["own"]), (&[("c7", 7)], &["parrot"])] {
            let page = html(&results(suites, peers)).expect("a page");
            assert!(page.ends_with("</html>\n"));
        }
        let mut failed = results(&[("c50", 50)], &[]);
        failed.peers.push(PeerInfo { name: "sulky".into(), about: String::new() });
        failed.cell_mut("c50", "sulky").errors.push("it ended".into());
        assert!(html(&failed).expect("a page").contains("it ended"));
    }

    #[test]
    fn what_is_written_can_be_read_back() {
        let results = results(&[("c50", 50)], &["parrot"]);
        let text = serde_json::to_string(&results).expect("JSON");
        let again: Results = serde_json::from_str(&text).expect("the same results");
        assert_eq!(
            again.cell("c50", "parrot").and_then(Cell::throughput),
            results.cell("c50", "parrot").and_then(Cell::throughput)
        );
        assert!(crate::compare::changes(&results, &again).iter().all(|change| !change.is_noteworthy()));
    }

    #[test]
    fn nothing_from_outside_becomes_markup() {
        assert_eq!(escape("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    }
}
