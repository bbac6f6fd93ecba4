//! `report.html`, a page that needs no other file, for a reader who has a minute.

mod fine;
mod sections;

use std::fmt::Write as _;

use anyhow::Result;
use parrot_load::units::thousands;

use crate::results::{Cell, DISTURBED, Results, Summary};
use crate::suite::counted;
use crate::table::{Table, cost};
use parrot_load::charts::{self, Chart, escape};

/// Returns the page and its charts.
pub(crate) fn html(results: &Results) -> Result<(String, Vec<Chart>)> {
    let mut page = charts::head("Parrot, measured");
    let mut charts = Vec::new();
    page.push_str(&lead(results));
    page.push_str(&cards(results));
    page.push_str(&match results.fine {
        Some(_) => fine::sections(results, &mut charts)?,
        None => sections::all(results, &mut charts)?,
    });
    page.push_str(&tables(results));
    page.push_str(&results.fine.as_ref().map_or_else(|| method(results), |of| fine::method(results, of)));
    page.push_str(include_str!("report/limits.html"));
    page.push_str(&environment(results));
    page.push_str("</main>\n</html>\n");
    Ok((page, charts))
}

/// A paragraph about what was measured.
fn lead(results: &Results) -> String {
    let environment = &results.environment;
    let cores = match (&results.method.server_cores[..], &results.method.client_cores[..]) {
        ([], _) | (_, []) => "Server and client shared the cores.".to_string(),
        _ if results.method.same_core => {
            "Server and load generator ran on hardware threads of a single core, which share its execution units."
                .to_string()
        }
        (server, client) => {
            format!(
                "The server had {} of its own, and the load generator had {}.",
                counted(server.len(), "core"),
                counted(client.len(), "core")
            )
        }
    };
    let interrupted = if results.interrupted {
        " <strong>The measurement was interrupted, so these results are incomplete.</strong>"
    } else {
        ""
    };
    let others = results.others();
    let disturbed = others.filter(|others| *others > DISTURBED).map(|others| {
        format!(
            " <strong>Other programs used {others:.1} cores meanwhile. \
             Expect wide spreads, and repeat the measurement on a quiet machine.</strong>"
        )
    });
    let disturbed = disturbed.unwrap_or_default();
    format!(
        "<h1>Parrot, measured</h1>\n\
         <p class=\"lead\">Echo servers under the same load on one machine ({}, {} cores{}), {}. \
         Each connection sends a message, waits for all of its bytes, checks them, and sends the next. \
         Only the suites with pipelining have several messages under way per connection. \
         Over UDP a client is a socket of its own, and a datagram without an answer counts as lost. {cores} \
         Compare the servers by <em>CPU time per message</em>, because throughput also depends on the client.\
         {interrupted}{disturbed}</p>\n",
        escape(&environment.cpu),
        environment.cores,
        if environment.virtual_machine { ", a virtual machine" } else { "" },
        escape(&environment.date),
    )
}

/// The suites of the cards.
const CARDS: [&str; 6] = ["c50", "c1000", "c10000", "unix", "udp-1", "udp"];

/// Parrot's main figures beside those of the bare loop.
fn cards(results: &Results) -> String {
    let card = if results.fine.is_some() { fine::card_of } else { card_of };
    let cards: String = CARDS.iter().filter_map(|suite| card(results, suite)).collect();
    if cards.is_empty() { cards } else { format!("<div class=\"cards\">\n{cards}</div>\n") }
}

/// The card of `suite`, if Parrot's CPU time in it is known.
fn card_of(results: &Results, suite: &str) -> Option<String> {
    let info = results.suites.iter().find(|info| info.name == suite)?;
    let (own, plain) = (results.cell(suite, "parrot"), results.cell(suite, "plain"));
    let cpu = own.and_then(Cell::cpu_per_message)?;
    let ratio = plain.and_then(Cell::cpu_per_message).map(|plain| beside(cpu, plain));
    // A doubtful figure is shown, but greyed out.
    let sides = || [own, plain].into_iter().flatten();
    let disturbed = disturbance(sides());
    let once = sides().any(|cell| !cell.is_repeated());
    let once = once.then(|| "measured once, so the spread is unknown".to_string());
    let doubtful = disturbed.is_some() || once.is_some();
    let spread = own.filter(|own| own.is_repeated()).map(|_| format!("±{:.0} %", cpu.spread() * 100.0));
    let rate = own.and_then(Cell::throughput).map(|rate| format!("{} messages per second", thousands(rate.median)));
    let memory = own.and_then(|own| own.median(|run| run.memory.peak.map(|bytes| bytes as f64 / 1048576.0)));
    let memory = memory.map(|memory| format!("{memory:.1} MiB at most"));
    let facts: Vec<String> = [spread, ratio, rate, memory, disturbed, once].into_iter().flatten().collect();
    Some(card(doubtful, &info.title, cpu.median, &facts))
}

/// A note that other programs disturbed the runs of any of `cells`.
fn disturbance<'a>(cells: impl Iterator<Item = &'a Cell>) -> Option<String> {
    let others = cells.filter_map(Cell::disturbed).reduce(f64::max)?;
    Some(format!("disturbed by other programs, which used {others:.1} cores"))
}

/// A card with Parrot's CPU time per message. A doubtful one is greyed out.
fn card(doubtful: bool, title: &str, cpu: f64, facts: &[String]) -> String {
    format!(
        "<div class=\"card{}\"><h3>{}</h3><p class=\"figure\">{} µs</p><p>CPU per message<br>{}</p></div>\n",
        if doubtful { " doubtful" } else { "" },
        escape(title),
        cost(cpu),
        facts.join("<br>")
    )
}

/// Parrot's figure as a multiple of the bare loop's, and whether the two differ by more than the spread.
fn beside(own: Summary, plain: Summary) -> String {
    let apart = own.least > plain.most || own.most < plain.least;
    let within = if apart { "" } else { ", within the spread" };
    format!("{:.2} × the bare loop{within}", own.median / plain.median)
}

fn tables(results: &Results) -> String {
    let what = match results.fine {
        Some(_) => "Medians of the rounds in which nothing failed, and of the ratios to Parrot.",
        None => {
            "Medians of the runs in which nothing failed. \
             ± is half the distance between the least and the greatest value."
        }
    };
    let mut text = format!("<section>\n<h2>All figures</h2>\n<p>{what}</p>\n");
    for info in &results.suites {
        let Table { headings, rows } = Table::of(results, info);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "<h3>{} <small>{}</small></h3>\n<p>{}</p>\n<div class=\"wide\"><table><tr>",
            escape(&info.title),
            info.name,
            escape(&results.load(info))
        );
        headings.iter().for_each(|heading| text.push_str(&format!("<th>{heading}</th>")));
        text.push_str("</tr>\n");
        for row in rows {
            let own = if row.columns.first().is_some_and(|name| name == "parrot") { " class=\"own\"" } else { "" };
            let _ = write!(text, "<tr{own}>");
            row.columns.iter().for_each(|column| text.push_str(&format!("<td>{}</td>", escape(column))));
            text.push_str("</tr>\n");
            if !row.notes.is_empty() {
                let (width, notes) = (headings.len(), escape(&row.notes.join("; ")));
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
    let text = format!(
        "<section>\n<h2>How it was measured</h2>\n\
         <p>Each figure comes from {} of {:.1} s, after {:.1} s of warm-up. \
         Every run has a fresh server, and the order of the servers alternates. \
         All connections are open before the first message, unless each message has a connection of its own. \
         The load generator ({}) checks every byte that comes back, and every failure is counted and shown. \
         CPU time is what the system accounts for the server's processes between the two ends of the window.{}</p>\n",
        counted(method.repeats, "run"),
        method.window,
        method.warmup,
        counted(method.client_threads, "thread"),
        if results.cells.iter().flat_map(|cell| &cell.runs).any(|run| run.log.is_some()) {
            " A server with a log writes it to a file, which is removed after the run. \
             The numbers of lines that it wrote and dropped are in results.json."
        } else {
            ""
        },
    );
    text + &terms_of_servers(results) + "</section>\n"
}

/// A list of the servers, of those that could not take part, and of the suites that were skipped.
fn terms_of_servers(results: &Results) -> String {
    let servers = results.servers.iter().map(|server| match &server.receives[..] {
        "" => (&server.name, server.about.clone()),
        receives => (&server.name, format!("{} (receives {receives} at once)", server.about)),
    });
    let missing = results.missing.iter().map(|(name, why)| (name, format!("did not take part: {why}")));
    let skipped = results.skipped.iter().map(|(name, why)| (name, format!("was skipped: {why}")));
    terms(servers.chain(missing).chain(skipped))
}

/// A list of terms, each with its description.
fn terms(terms: impl Iterator<Item = (impl AsRef<str>, String)>) -> String {
    let terms = terms.map(|(term, text)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(term.as_ref()), escape(&text)));
    format!("<dl>\n{}</dl>\n", terms.collect::<String>())
}

fn environment(results: &Results) -> String {
    let environment = &results.environment;
    let list = |cores: &[usize]| cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let facts = [
        ("system", format!("{} {}", environment.system, environment.kernel)),
        (
            "CPU",
            format!(
                "{}, {} cores{}",
                environment.cpu,
                environment.cores,
                if environment.virtual_machine { ", virtual machine" } else { "" }
            ),
        ),
        ("server's cores", list(&results.method.server_cores)),
        ("client's cores", list(&results.method.client_cores)),
        ("frequency governor", environment.governor.clone().unwrap_or_else(|| "unknown".into())),
        ("descriptor limit", environment.descriptors.map_or("unlimited".into(), |limit| limit.to_string())),
        ("load average before", environment.load_average.map_or("unknown".into(), |load| load.to_string())),
        ("commit", environment.commit.clone()),
        ("build", environment.build.clone()),
        ("arguments", environment.arguments.join(" ")),
    ];
    let read = environment.network.iter().chain(&environment.versions).map(|(name, fact)| (&name[..], fact.clone()));
    format!("<section>\n<h2>Where</h2>\n{}</section>\n", terms(facts.into_iter().chain(read)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::results::{Memory, Method, Run, SCHEMA, ServerInfo, SuiteInfo};
    use crate::suite::Transport;
    use parrot_load::Latency;

    pub(crate) fn server(name: &str, about: &str) -> ServerInfo {
        ServerInfo { name: name.into(), about: about.into(), receives: "1 KiB".into(), processes: 1 }
    }

    /// Results of `suites`, in which the CPU time of a server is the length of its name.
    pub(crate) fn results(suites: &[(&str, usize)], servers: &[&str]) -> Results {
        let mut results = Results {
            schema: SCHEMA.into(),
            environment: Environment::read(std::path::Path::new("target/release")),
            method: Method {
                warmup: 0.5,
                window: 2.0,
                repeats: 2,
                server_cores: vec![0],
                client_cores: vec![1],
                client_threads: 1,
                same_core: false,
            },
            suites: Vec::new(),
            servers: Vec::new(),
            missing: [("go".to_string(), "Go is <not> installed".to_string())].into(),
            skipped: [("c9".to_string(), "too few <descriptors>".to_string())].into(),
            cells: Vec::new(),
            interrupted: false,
            fine: None,
        };
        results.servers.extend(servers.iter().map(|name| server(name, "a <server>")));
        for (name, connections) in suites {
            results.suites.push(SuiteInfo {
                name: (*name).into(),
                title: format!("{connections} connections"),
                load: "closed loop".into(),
                transport: Transport::Tcp,
                connections: *connections,
                idle: 0,
                size: 12,
                pipeline: 1,
                reconnect: false,
            });
            for server in servers {
                let run = |factor: f64| Run {
                    messages_per_second: factor * 1e5 / server.len() as f64,
                    cpu_per_message: Some(factor * server.len() as f64),
                    latency: Latency { count: 1000, p50: Some(20.0), ..Latency::default() },
                    curve: vec![(0.0, 10.0), (50.0, 20.0), (99.0, 300.0)],
                    memory: Memory {
                        rest: Some(2 << 20),
                        loaded: Some(3 << 20),
                        peak: Some(4 << 20),
                        per_connection: Some(99.0),
                    },
                    ..Run::default()
                };
                results.cell_mut(name, server).runs.extend([run(1.0), run(1.1)]);
            }
        }
        results
    }

    #[test]
    fn a_page_contains_every_chart_and_needs_no_other_file() {
        let (page, files) = html(&results(&[("c50", 50), ("c1000", 1000)], &["parrot", "plain"])).expect("a page");
        let charts = page.matches("<svg ").count();
        assert_eq!(page.lines().filter(|line| line.starts_with("<svg ")).count(), charts);
        let names: Vec<&str> = files.iter().map(|chart| chart.name.as_str()).collect();
        assert_eq!(names, ["throughput", "cpu-c50", "cpu-c1000", "latency-c50", "latency-c1000", "memory"]);
        assert_eq!(charts, files.len());
        for outside in ["<script", "<link", "src=", "url(", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
        for inside in [
            "1.20 × the bare loop",
            "6.30 µs",
            "a &lt;server&gt;",
            "Go is &lt;not&gt; installed",
            "too few &lt;descriptors&gt;",
        ] {
            assert!(page.contains(inside), "{inside}");
        }
    }

    #[test]
    fn few_results_make_a_page_too() {
        for (suites, servers) in [(&[][..], &[][..]), (&[("c50", 50)], &["own"]), (&[("c7", 7)], &["parrot"])] {
            let (page, _) = html(&results(suites, servers)).expect("a page");
            assert!(page.ends_with("</html>\n"));
        }
        let mut failed = results(&[("c50", 50)], &[]);
        failed.servers.push(server("sulky", ""));
        failed.cell_mut("c50", "sulky").errors.push("it ended".into());
        assert!(html(&failed).expect("a page").0.contains("it ended"));
    }

    #[test]
    fn a_server_that_echoed_nothing_is_named_below_the_chart() {
        let mut results = results(&[("c50", 50)], &["parrot"]);
        let drawn = html(&results).expect("a page").1.len();
        results.servers.push(server("mute", ""));
        let mute = Run { cpu_per_message: None, curve: vec![(0.0, 0.0), (50.0, 0.0)], ..Run::default() };
        results.cell_mut("c50", "mute").runs.push(mute);
        let (page, charts) = html(&results).expect("a page");
        assert_eq!(charts.len(), drawn);
        assert!(page.contains("Not shown: mute (nothing came back)"), "{page}");
        assert!(charts.iter().all(|chart| !chart.file.contains("mute")));
    }

    #[test]
    fn a_server_without_cpu_time_is_named_below_the_chart() {
        let mut results = results(&[("c50", 50)], &["parrot", "plain"]);
        for run in &mut results.cell_mut("c50", "plain").runs {
            (run.cpu_per_message, run.cpu_late) = (None, Some(0.03));
        }
        let (page, _) = html(&results).expect("a page");
        assert!(page.contains("Not shown: plain (its CPU time is unknown"), "{page}");
        assert!(page.contains("CPU left out in 2 of 2 runs"), "{page}");
    }

    #[test]
    fn a_card_says_how_sure_its_figure_is() {
        let page = |change: &dyn Fn(&mut Results)| {
            let mut results = results(&[("c50", 50)], &["parrot", "plain"]);
            change(&mut results);
            cards(&results)
        };
        let sure = page(&|_| {});
        assert!(sure.contains("±5 %") && !sure.contains("doubtful"), "{sure}");
        let once = page(&|results| results.cell_mut("c50", "plain").runs.truncate(1));
        assert!(once.contains("doubtful") && once.contains("measured once"), "{once}");
        let busy = page(&|results| {
            results.cell_mut("c50", "plain").runs.truncate(1);
            results.cell_mut("c50", "parrot").runs.iter_mut().for_each(|run| run.others = Some(0.5));
        });
        assert!(busy.contains("doubtful") && busy.contains("disturbed") && busy.contains("measured once"), "{busy}");
        let ends = |least, most| Summary { median: 1.0, least, most };
        assert!(beside(ends(0.9, 1.1), ends(1.0, 1.2)).contains("within the spread"));
        assert!(!beside(ends(0.9, 0.95), ends(1.0, 1.2)).contains("within the spread"));
    }

    #[test]
    fn results_can_be_read_back() {
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
    fn the_first_format_can_be_read() {
        let new = serde_json::to_string(&results(&[("c50", 50)], &["parrot"])).expect("JSON");
        let old = new.replace("\"servers\"", "\"peers\"").replace("\"server\"", "\"peer\"");
        let again: Results = serde_json::from_str(&old).expect("results");
        assert_ne!(new, old);
        assert!(again.cell("c50", "parrot").is_some() && again.servers[0].name == "parrot");
    }

    #[test]
    fn results_from_before_other_transports_can_be_read() {
        let mut old = serde_json::to_value(results(&[("c50", 50)], &["parrot"])).expect("JSON");
        let mut remove = |pointer: &str, name: &str| {
            old.pointer_mut(pointer).and_then(|value| value.as_object_mut()?.remove(name)).expect("a new field");
        };
        remove("/suites/0", "transport");
        remove("/servers/0", "processes");
        remove("/cells/0/runs/0", "datagrams");
        let again: Results = serde_json::from_value(old).expect("results");
        assert_eq!((again.suites[0].transport, again.servers[0].processes), (Transport::Tcp, 1));
        assert!(html(&again).is_ok());
    }

    #[test]
    fn only_tcp_suites_are_in_the_charts_by_connections() {
        let mut results = results(&[("c1000", 1000), ("unix", 50), ("reuse-port", 1000)], &["parrot", "plain"]);
        results.suites[1].transport = Transport::Unix;
        let (_, charts) = html(&results).expect("a page");
        let names: Vec<&str> = charts.iter().map(|chart| chart.name.as_str()).collect();
        assert_eq!(names, ["cpu-c1000", "cpu-unix", "cpu-reuse-port", "latency-c1000", "memory"]);
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    }
}
