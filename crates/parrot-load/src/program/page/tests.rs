//! The page as text, for runs that never took place.

use std::net::SocketAddr;
use std::time::SystemTime;

use super::super::history::tests::sample;
use super::*;
use crate::failure::Failure;
use crate::latency::Latencies;
use crate::search::ends;
use crate::tally::Tally;
use crate::targets::Targets;
use crate::{Limit, Objective, Pace, Plan, Step, Target};

/// A report on a window of a second, and the course of its run.
fn run(change: impl FnOnce(&mut Plan, &mut Tally)) -> (Report, History) {
    let mut plan = Plan::new(SocketAddr::from(([127, 0, 0, 1], 1512)));
    let mut tally = Tally { closed: Some(1_000_000_000), open: plan.kept(), ..Tally::default() };
    let mut history = History::default();
    let tenth = Duration::from_millis(100);
    for number in 1..=10 {
        let mut latencies = Latencies::default();
        (1..=100).for_each(|message| latencies.record(100_000 * message));
        history.add(&sample(&latencies, tenth * number, tenth));
        tally.latencies.add(&latencies);
        tally.answered += 100;
    }
    change(&mut plan, &mut tally);
    let targets = Targets::new(&plan.targets);
    let report = Report::new(&plan, [tally], (plan.kept(), Duration::ZERO), (SystemTime::UNIX_EPOCH, &targets));
    (report, history)
}

#[track_caller]
fn expect_whole(page: &str, charts: usize, texts: &[&str]) {
    assert_eq!(page.matches("<svg ").count(), charts, "charts");
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    for outside in ["<script", "<link", "src=", "url(", "@import", "http://", "https://"] {
        assert!(!page.replace("http://www.w3.org/2000/svg", "").contains(outside), "{outside}");
    }
    for text in texts {
        assert!(page.contains(text), "{text:?} is not in the page:\n{page}");
    }
    for tag in ["section", "div", "table", "svg", "ul", "dl", "main"] {
        let (opened, closed) = (page.matches(&format!("<{tag}")).count(), page.matches(&format!("</{tag}>")).count());
        assert_eq!(opened, closed, "{tag}");
    }
}

#[test]
fn a_page_has_the_figures_the_settings_and_all_charts() {
    let (report, history) = run(|_, _| {});
    let page = of_run(&report, &history).expect("a page");
    expect_whole(&page, 3, &["1,000", "P99 of the latency", "9.90 ms", "Latency by percentile", "In a closed loop"]);
    expect_whole(
        &page,
        3,
        &["<dt>connections</dt><dd>50</dd>", "<dt>failures</dt><dd>none</dd>", "1970-01-01T00:00:00Z"],
    );
    expect_whole(&page, 3, &["the window from 1.0 s to 2.0 s"]);
}

#[test]
fn doubts_and_failures_are_in_the_page() {
    let (report, history) = run(|plan, tally| {
        plan.pace = Pace::Rate(50_000.0);
        tally.failures.count(Failure::Reset);
        tally.failures.ends.count(Failure::Reset, 77);
        tally.unsent = 9;
        tally.lateness.record(1000);
        tally.service.record(1000);
    });
    let page = of_run(&report, &history).expect("a page");
    expect_whole(
        &page,
        3,
        &["<strong>rate not reached", "card doubtful", "50,000 asked for", "1 by RST after 77 bytes"],
    );
    expect_whole(&page, 3, &["9 never sent", "own delay", "From when a message was due"]);
}

#[test]
fn a_run_without_answers_makes_a_page_too() {
    let (report, _) = run(|_, tally| tally.latencies.clear());
    let page = of_run(&report, &History::default()).expect("a page");
    expect_whole(&page, 0, &["<strong>nothing measured", "<td>-</td>"]);
}

#[test]
fn text_of_others_cannot_become_markup() {
    let path = std::os::unix::net::SocketAddr::from_pathname("/tmp/<b>&\"x").expect("a path");
    let (report, history) = run(|plan, _| plan.targets = vec![Target::Unix(path)]);
    let page = of_run(&report, &history).expect("a page");
    assert!(!page.contains("<b>") && page.contains("/tmp/&lt;b&gt;&amp;&quot;x"), "{page}");
}

#[test]
fn a_search_has_its_steps_and_the_chart_over_the_rate() {
    let plan = Plan::new(SocketAddr::from(([127, 0, 0, 1], 1512)));
    let latency = run(|_, _| {}).0.latency;
    let step = |rate, held| Step {
        rate,
        messages_per_second: rate,
        latency,
        lateness: latency,
        errors: 0.0,
        held,
        client_bound: false,
    };
    let steps = vec![step(1000.0, true), step(2000.0, false)];
    let (rate, failed) = ends(&plan, &steps);
    let found = Found {
        schema: "parrot-load-search/1".into(),
        version: "0".into(),
        load: Load::of(&plan, &plan.targets[0]),
        objectives: vec![Objective::Errors(0.0)],
        rate,
        failed,
        confirmed: true,
        limit: Limit::Server,
        steps,
    };
    let page = of_search(&found).expect("a page");
    expect_whole(&page, 1, &["highest rate for errors=0%", "Highest rate that held", "the server gave out first"]);
    expect_whole(&page, 1, &["<td>1,000</td>", "<td>holds</td>", "<td>2,000</td>", "<td>fails</td>", "P99.9"]);
}
