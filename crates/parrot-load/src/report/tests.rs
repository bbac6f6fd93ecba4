//! Marks and text, on figures made up.

use std::net::{Ipv4Addr, SocketAddr};

use super::*;

/// The report on one second of a single thread that used `cpu` of it and waited for a core for `waited`.
fn second(plan: &Plan, cpu: u64, waited: u64, counted: Tally) -> Report {
    let account = |milliseconds| Some(Duration::from_millis(milliseconds));
    let used = Account { cpu: account(cpu), waited: account(waited) };
    let tally = Tally { opened: 0, closed: Some(1_000_000_000), open: plan.kept(), used, ..counted };
    Report::new(plan, [tally], (plan.kept(), Duration::ZERO), None)
}

/// `count` answers that each took as long.
fn answers(count: u64, each: Duration) -> Tally {
    let mut latencies = Latencies::default();
    (0..count).for_each(|_| latencies.record(each.as_nanos() as u64));
    Tally { answered: count, latencies, ..Tally::default() }
}

fn plan() -> Plan {
    Plan::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1512)))
}

#[test]
fn a_closed_loop_whose_thread_had_no_time_left_is_client_bound() {
    let report = second(&plan(), 960, 0, Tally::default());
    assert!(report.marks.contains(&Mark::ClientBound) && report.to_string().contains("no time left"), "{report}");
    assert!(!second(&plan(), 900, 0, Tally::default()).marks.contains(&Mark::ClientBound));
}

#[test]
fn a_closed_loop_whose_thread_was_kept_from_running_is_client_bound_for_that_reason() {
    let report = second(&plan(), 500, 460, Tally::default());
    assert!(report.marks.contains(&Mark::ClientBound), "{report}");
    assert!(report.to_string().contains("other programs kept"), "{report}");
    assert!(!second(&plan(), 500, 400, Tally::default()).marks.contains(&Mark::ClientBound));
}

#[test]
fn connections_that_were_never_served_are_a_contradiction_however_few_messages_there_were() {
    let plan = Plan { connections: 9000, ..plan() };
    // 4,000 of them were answered ten times each.
    let report = second(&plan, 0, 0, answers(40_000, Duration::from_millis(100)));
    assert!(report.marks.contains(&Mark::Contradiction), "{report}");
}

#[test]
fn a_window_too_short_to_judge_is_not_called_a_contradiction() {
    let plan = Plan { connections: 9000, ..plan() };
    // All of them took 400 ms: two rounds lie in the window, and the halves at its ends are not counted.
    let report = second(&plan, 0, 0, answers(18_000, Duration::from_millis(400)));
    assert!(!report.marks.contains(&Mark::Contradiction), "{report}");
}

#[test]
fn a_stall_that_the_window_s_end_cuts_is_not_called_a_contradiction() {
    // All were answered at once for half of the window, and after it those that were under way then.
    let tally = |cut| Tally { cut, ..answers(25_000, Duration::from_millis(1)) };
    assert!(!second(&plan(), 0, 0, tally(500_000_000)).marks.contains(&Mark::Contradiction));
    assert!(second(&plan(), 0, 0, tally(0)).marks.contains(&Mark::Contradiction));
}

#[test]
fn an_open_loop_with_more_under_way_than_its_connections_hold_is_a_contradiction() {
    let plan = Plan { pace: Pace::Rate(1000.0), ..plan() };
    let report = |each: u64| {
        let tally = answers(1000, Duration::from_millis(each));
        second(&plan, 0, 0, Tally { service: tally.latencies.clone(), ..tally })
    };
    assert!(report(40).marks.is_empty(), "40 under way on 50 connections");
    assert!(report(80).marks.contains(&Mark::Contradiction), "80 on 50");
}

#[test]
fn what_was_not_measured_is_not_shown_as_zero() {
    let report = second(&plan(), 0, 0, Tally::default()).to_string();
    assert!(report.contains("latency     none measured") && !report.contains("P50"), "{report}");
}

#[test]
fn the_figures_fit_a_terminal_and_each_time_stands_below_its_heading() {
    let plan = Plan { pace: Pace::Rate(1e6), ..plan() };
    let tally = answers(1_234_567, Duration::from_micros(16_300));
    let (service, connecting) = (tally.latencies.clone(), tally.latencies.clone());
    let tally = Tally { service: service.clone(), lateness: service, connecting, open: 49, ..tally };
    let report = second(&plan, 960, 0, tally).to_string();
    let figures: Vec<&str> = report.lines().filter(|line| !line.contains("note ")).collect();
    assert!(figures.iter().all(|line| line.chars().count() <= 80), "{report}");
    let ends = |line: &&str, what: &str| line.find(what).map(|at| line[..at + what.len()].chars().count());
    let row = |name: &str| figures.iter().find(|line| line.contains(name)).unwrap();
    assert_eq!(ends(row("P99.9"), "mean"), ends(row("latency"), "16.3 ms"), "{report}");
}

#[test]
fn connections_are_counted_when_all_were_open_and_at_the_end() {
    let report = |plan: &Plan, open| {
        let tally = Tally { closed: Some(1_000_000_000), open, ..Tally::default() };
        Report::new(plan, [tally], (plan.kept(), Duration::from_millis(1)), None)
    };
    assert!(report(&plan(), 22).to_string().contains("connections 50 open after 0.001 s, 22 at the end\n"));
    assert!(!report(&plan(), 50).to_string().contains("at the end"));
    let each = Plan { reconnect: Some(Close::Finish), ..plan() };
    assert!(!report(&each, 0).to_string().contains("open after"), "those for one message are not counted");
    assert_eq!(report(&each, 0).marks, report(&plan(), 50).marks);
    let idle = Plan { idle: 10, ..each };
    assert!(report(&idle, 9).to_string().contains("10 open after 0.001 s, 9 at the end\n"));
    assert!(report(&idle, 9).marks.contains(&Mark::ConnectionsLost));
}

#[test]
fn what_a_run_that_was_stopped_did_not_wait_for_is_no_contradiction() {
    let report = second(&plan(), 0, 0, Tally { stopped: true, ..answers(25_000, Duration::from_millis(1)) });
    assert!(report.marks == [Mark::StoppedEarly], "{report}");
}

#[test]
fn what_was_run_is_told_as_far_as_it_is_unusual() {
    let load = |plan: &Plan| Load::of(plan).to_string();
    assert_eq!(load(&plan()), "closed loop: 50 connections x 12 bytes to 127.0.0.1:1512");
    let unusual = Plan {
        connections: 1000,
        reconnect: Some(Close::Finish),
        threads: 2,
        sources: vec![Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(127, 0, 0, 2).into()],
        warmup: Duration::from_millis(500),
        no_delay: false,
        ..plan()
    };
    assert_eq!(
        load(&unusual),
        "closed loop: 1,000 connections x 12 bytes to 127.0.0.1:1512, a new one for each message, ended in the \
         orderly way, 2 threads, from 127.0.0.1 and 127.0.0.2, 0.5 s of warm-up, small messages gathered by the system"
    );
    assert!(
        second(&unusual, 0, 0, answers(1000, Duration::from_millis(1)))
            .to_string()
            .contains("(latency with connecting)")
    );
}

#[test]
fn messages_never_sent_are_told() {
    let unsent = |unsent| second(&plan(), 0, 0, Tally { unsent, ..Tally::default() }).to_string();
    assert!(unsent(7).contains("never sent  7") && !unsent(0).contains("never sent"), "{}", unsent(7));
}

#[test]
fn an_open_loop_that_came_late_itself_is_client_bound_and_one_that_only_looked_for_work_is_not() {
    let plan = Plan { pace: Pace::Rate(1000.0), ..plan() };
    let is_marked = |late: u64| {
        let mut lateness = Latencies::default();
        (0..1000).for_each(|message| lateness.record(if message < late { 50_000_000 } else { 1000 }));
        let report = second(&plan, 1000, 0, Tally { lateness, ..Tally::default() });
        report.marks.contains(&Mark::ClientBound) && report.to_string().contains("came late to messages")
    };
    assert!(is_marked(20));
    assert!(!is_marked(5));
}
