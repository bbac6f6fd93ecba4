//! What the report of a fine measurement has in place of the charts of an ordinary one: ratios with their intervals.

use std::fmt::Write as _;

use anyhow::Result;

use super::sections::{absent, colour, section, wide};
use super::{card, disturbance, terms_of_servers};
use crate::comparison::{Comparison, Figure, Fine};
use crate::results::{Cell, Results, SuiteInfo};
use parrot_load::charts::intervals::{Dot, intervals};
use parrot_load::charts::{Chart, escape};

/// Dots beyond this ratio are not shown, so that a percent is still visible.
const CUT: f64 = 1.5;

/// What the suites of load generators show in place of servers.
const CLIENTS: &str = "Load generators are compared by their own CPU time, with parrot-load's.";

/// The card of `suite`, if Parrot's CPU time in it is known.
pub(super) fn card_of(results: &Results, suite: &str) -> Option<String> {
    let info = results.suites.iter().find(|info| info.name == suite)?;
    let (own, plain) = (results.cell(suite, "parrot"), results.cell(suite, "plain"));
    let cpu = own.and_then(Cell::cpu_per_message)?;
    let comparison = results.comparison(suite, "plain", Figure::CpuPerMessage);
    let ratio = comparison.map(|comparison| format!("the bare loop takes {} × that", label(comparison)));
    let place = comparison.and_then(Comparison::place).map(|place| format!("Parrot is {place}"));
    let disturbed = disturbance([own, plain].into_iter().flatten());
    let doubtful = place.is_none() || disturbed.is_some();
    let facts: Vec<String> = [ratio, place, disturbed].into_iter().flatten().collect();
    Some(card(doubtful, &info.title, cpu.median, &facts))
}

/// The section of every figure that is compared. Adds its charts to `all`.
pub(super) fn sections(results: &Results, all: &mut Vec<Chart>) -> Result<String> {
    let cpu = charts(results, Figure::CpuPerMessage, all)?;
    let p50 = charts(results, Figure::P50, all)?;
    let how = "A dot is the median of the ratios of all blocks, and its whiskers span the 95 % interval. Right of the \
               line at 1, a server takes more than Parrot. Whiskers that cross the line show no difference. A server \
               with ▸ is further to the right.";
    let mut text = String::new();
    if !cpu.is_empty() {
        let title = "CPU time per message, as a multiple of Parrot's";
        text.push_str(&section(
            title,
            &format!("The CPU time of the server, including the kernel. {CLIENTS} {how}"),
            "",
            &cpu,
        ));
    }
    if !p50.is_empty() {
        let title = "Median latency, as a multiple of Parrot's";
        let what = "With one message under way, the time from its send to the return of its last byte. The loop that \
                    never sleeps is compared with the Parrot that never sleeps.";
        text.push_str(&section(title, what, "", &p50));
    }
    Ok(text)
}

/// A chart of `figure` for each suite in which it is compared.
fn charts(results: &Results, figure: Figure, all: &mut Vec<Chart>) -> Result<String> {
    let mut text = String::new();
    for info in results.suites.iter().filter(|info| Figure::of(info).contains(&figure)) {
        let comparison = |cell: &Cell| results.comparison(&info.name, &cell.server, figure);
        let mut compared: Vec<&Comparison> = results.of_suite(&info.name).filter_map(comparison).collect();
        compared.sort_by(|left, right| left.ratio.median.total_cmp(&right.ratio.median));
        // Parrot is the line at 1.
        let absent = absent(results, info, |cell| cell.server == "parrot" || comparison(cell).is_some());
        if compared.is_empty() {
            text.push_str(&absent);
            continue;
        }
        let dots: Vec<Dot> = compared.into_iter().map(|comparison| dot(results, comparison)).collect();
        let (name, title, axis) = titles(info, figure);
        let chart = wide(intervals(name, &title, axis, &dots, CUT)?, all);
        let _ = write!(text, "<h3>{}</h3>\n{chart}{absent}", escape(&info.title));
    }
    Ok(text)
}

/// The name of a chart's file, its title, and what its axis shows.
fn titles(info: &SuiteInfo, figure: Figure) -> (String, String, &'static str) {
    let (name, what, axis) = match figure {
        Figure::CpuPerMessage => ("ratio", "CPU time per message", "CPU time per message, Parrot's is 1"),
        Figure::P50 => ("ratio-p50", "Median latency", "median latency, Parrot's is 1"),
    };
    (format!("{name}-{}", info.name), format!("{what} as a multiple of Parrot's: {}", info.title), axis)
}

fn dot(results: &Results, comparison: &Comparison) -> Dot {
    Dot {
        name: comparison.server.clone(),
        colour: colour(results, &comparison.server),
        value: comparison.ratio.median,
        interval: comparison.ratio.interval,
        label: label(comparison),
    }
}

/// The ratio and its interval in words.
fn label(comparison: &Comparison) -> String {
    let interval = comparison.ratio.interval.map(|(low, high)| format!(" ({low:.3} to {high:.3})"));
    format!("{:.3}{}", comparison.ratio.median, interval.unwrap_or_default())
}

/// How a fine measurement is made.
pub(super) fn method(results: &Results, fine: &Fine) -> String {
    let share = fine.confidence * 100.0;
    format!(
        "<section>\n<h2>How it was measured</h2>\n\
         <p>Several processes of each server stay alive. One of them runs at a time, and all the others are stopped \
         (SIGSTOP). A block is one short round of each server, each on one of its processes. The order changes from \
         block to block, so that each server runs equally often in each place and after each of the others. Every \
         round opens its connections anew, and they are all open before the first message, unless each message has a \
         connection of its own. Every byte that comes back is checked.</p>\n\
         <p>A block gives the ratio of each server's figure to Parrot's. The tables show the median of these ratios and \
         the interval that contains the true median in {share:.0} of 100 measurements. It lies between two of the \
         ratios that were measured, whatever their distribution is. It covers how the rounds differ, and how the \
         processes of one program differ as far as a few of them show that. A server that is clearly apart from Parrot \
         has fewer rounds.</p>\n{}</section>\n",
        terms_of_servers(results)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::Round;
    use crate::report::html;
    use crate::report::tests::results;
    use crate::results::Run;

    /// A fine measurement of `suites` in which the CPU time of a server is the length of its name.
    fn fine(suites: &[(&str, usize)], servers: &[&str]) -> Results {
        let mut results = results(suites, servers);
        for cell in &mut results.cells {
            let (cpu_per_message, run) = (Some(cell.server.len() as f64), cell.runs[0].clone());
            let round = |block| Run { cpu_per_message, round: Some(Round { block, process: 0 }), ..run.clone() };
            cell.runs = (0..8).map(round).collect();
        }
        for info in results.suites.clone() {
            results.compare(&info);
        }
        results
    }

    #[test]
    fn a_page_has_a_chart_of_ratios_for_each_suite() {
        let (page, charts) = html(&fine(&[("c1", 1), ("c50", 50)], &["parrot", "plain", "a-rival"])).expect("a page");
        let names: Vec<&str> = charts.iter().map(|chart| chart.name.as_str()).collect();
        assert_eq!(names, ["ratio-c1", "ratio-c50", "ratio-p50-c1"]);
        for inside in ["0.833 (0.833 to 0.833)", "Parrot is behind", "1.167", "SIGSTOP", "95 of 100"] {
            assert!(page.contains(inside), "{inside} is not in {page}");
        }
        assert!(!page.contains("Throughput by connections") && page.ends_with("</html>\n"));
    }

    #[test]
    fn a_card_without_an_interval_or_disturbed_is_doubtful() {
        let doubtful = |change: fn(&mut Cell)| {
            let mut results = fine(&[("c50", 50)], &["parrot", "plain"]);
            change(results.cell_mut("c50", "plain"));
            results.fine = None;
            results.compare(&results.suites[0].clone());
            card_of(&results, "c50").expect("a card").contains("doubtful")
        };
        assert!(!doubtful(|_| {}));
        assert!(doubtful(|plain| plain.runs.truncate(5)));
        assert!(doubtful(|plain| plain.runs.iter_mut().for_each(|run| run.others = Some(0.5))));
    }

    #[test]
    fn a_server_that_failed_is_named_below_the_chart() {
        let mut results = fine(&[("c50", 50)], &["parrot", "plain"]);
        results.servers.push(crate::report::tests::server("sulky", ""));
        results.cell_mut("c50", "sulky").errors.push("it ended".into());
        let (page, _) = html(&results).expect("a page");
        assert!(page.contains("Not shown: sulky (it ended)"), "{page}");
        assert!(!page.contains("Not shown: parrot"));
    }
}
