//! Marks and text of made-up figures.

use std::net::{Ipv4Addr, SocketAddr};

use super::*;

/// The report on a thread that, in a window of a second, used `cpu` milliseconds and waited for a core for `waited`.
fn second(plan: &Plan, cpu: u64, waited: u64, counted: Tally) -> Report {
    let account = |milliseconds| Some(Duration::from_millis(milliseconds));
    let used = Account { cpu: account(cpu), waited: account(waited) };
    let tally = Tally { opened: 0, closed: Some(1_000_000_000), open: plan.kept(), used, ..counted };
    Report::new(plan, [tally], (plan.kept(), Duration::ZERO), (SystemTime::UNIX_EPOCH, &Targets::new(&plan.targets)))
}

/// `count` answers that took `each`.
fn answers(count: u64, each: Duration) -> Tally {
    let mut latencies = Latencies::default();
    (0..count).for_each(|_| latencies.record(each.as_nanos() as u64));
    Tally { answered: count, latencies, ..Tally::default() }
}

fn plan() -> Plan {
    Plan::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1512)))
}

#[test]
fn a_closed_loop_with_no_time_left_is_client_bound() {
    let report = second(&plan(), 960, 0, Tally::default());
    assert!(report.marks.contains(&Mark::ClientBound) && report.to_string().contains("no time left"), "{report}");
    assert!(!second(&plan(), 900, 0, Tally::default()).marks.contains(&Mark::ClientBound));
}

#[test]
fn a_closed_loop_kept_from_running_is_client_bound() {
    let report = second(&plan(), 500, 460, Tally::default());
    assert!(report.marks.contains(&Mark::ClientBound), "{report}");
    assert!(report.to_string().contains("other programs kept"), "{report}");
    assert!(!second(&plan(), 500, 400, Tally::default()).marks.contains(&Mark::ClientBound));
}

#[test]
fn connections_never_served_are_a_contradiction() {
    let plan = Plan { connections: 9000, ..plan() };
    // 4,000 of the 9,000 were answered, ten times each.
    let report = second(&plan, 0, 0, answers(40_000, Duration::from_millis(100)));
    assert!(report.marks.contains(&Mark::Contradiction), "{report}");
}

#[test]
fn a_window_too_short_to_judge_is_no_contradiction() {
    let plan = Plan { connections: 9000, ..plan() };
    // All took 400 ms, so two rounds lie in the window, and the halves at its ends are not counted.
    let report = second(&plan, 0, 0, answers(18_000, Duration::from_millis(400)));
    assert!(!report.marks.contains(&Mark::Contradiction), "{report}");
}

#[test]
fn a_stall_at_the_end_of_the_window_is_no_contradiction() {
    // The server stalls in the middle of the window and answers again after its end.
    let tally = |cut| Tally { cut, ..answers(25_000, Duration::from_millis(1)) };
    assert!(!second(&plan(), 0, 0, tally(500_000_000)).marks.contains(&Mark::Contradiction));
    assert!(second(&plan(), 0, 0, tally(0)).marks.contains(&Mark::Contradiction));
}

#[test]
fn more_under_way_than_connections_is_a_contradiction() {
    let plan = Plan { pace: Pace::Rate(1000.0), ..plan() };
    let report = |each: u64| {
        let tally = answers(1000, Duration::from_millis(each));
        second(&plan, 0, 0, Tally { service: tally.latencies.clone(), ..tally })
    };
    assert!(report(40).marks.is_empty(), "40 under way on 50 connections");
    assert!(report(80).marks.contains(&Mark::Contradiction), "80 on 50");
}

#[test]
fn latencies_not_measured_are_not_shown_as_zero() {
    let report = second(&plan(), 0, 0, Tally::default());
    assert!(report.to_string().contains(&format!("  latency   {}\n", "         -".repeat(6))), "{report}");
    assert_eq!((report.marks, report.concurrency), (vec![Mark::NothingMeasured], None));
}

#[test]
fn figures_fit_80_columns_below_their_headings() {
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
fn connections_are_counted_after_connecting_and_at_the_end() {
    let report = |plan: &Plan, open| {
        let tally = Tally { closed: Some(1_000_000_000), open, ..Tally::default() };
        Report::new(
            plan,
            [tally],
            (plan.kept(), Duration::from_millis(1)),
            (SystemTime::UNIX_EPOCH, &Targets::new(&plan.targets)),
        )
    };
    assert!(report(&plan(), 22).to_string().contains("connections 50 open after 0.001 s, 22 at the end\n"));
    assert!(!report(&plan(), 50).to_string().contains("at the end"));
    let each = Plan { reconnect: Some(Close::Finish.after(1)), ..plan() };
    assert!(!report(&each, 0).to_string().contains("open after"), "those for one message are not counted");
    assert_eq!(report(&each, 0).marks, report(&plan(), 50).marks);
    let idle = Plan { idle: 10, ..each };
    assert!(report(&idle, 9).to_string().contains("10 open after 0.001 s, 9 at the end\n"));
    assert!(report(&idle, 9).marks.contains(&Mark::ConnectionsLost));
}

#[test]
fn a_stopped_run_is_no_contradiction() {
    let report = second(&plan(), 0, 0, Tally { stopped: true, ..answers(25_000, Duration::from_millis(1)) });
    assert!(report.marks == [Mark::StoppedEarly], "{report}");
}

#[test]
fn a_load_shows_only_what_is_not_default() {
    let load = |plan: &Plan| Load::of(plan, &plan.targets[0]).to_string();
    assert_eq!(load(&plan()), "closed loop: 50 connections x 12 bytes to 127.0.0.1:1512");
    assert_eq!(load(&Plan { size_to: Some(12), ..plan() }), load(&plan()));
    let profile = Plan {
        size_to: Some(4096),
        reconnect: Some(Close::Reset.after(1000)),
        connect_rate: Some(0.5),
        pace: Pace::Steps(Steps { from: 1.0, to: 5000.0, count: 5, over: Duration::from_secs(60) }),
        ..plan()
    };
    assert_eq!(
        load(&profile),
        "open loop: 50 connections x 12 to 4,096 bytes to 127.0.0.1:1512, a new one after 1,000 messages, closed by a \
         reset, opened at 0.50 a second, from 1.00 to 5,000 messages/s in 5 steps over 60 s"
    );
    let unusual = Plan {
        connections: 1000,
        reconnect: Some(Close::Finish.after(1)),
        threads: 2,
        sources: [[127, 0, 0, 1], [127, 0, 0, 2]].map(|source| SocketAddr::from((source, 0))).to_vec(),
        warmup: Duration::from_millis(500),
        no_delay: false,
        ..plan()
    };
    assert_eq!(
        load(&unusual),
        "closed loop: 1,000 connections x 12 bytes to 127.0.0.1:1512, a new one for each message, closed in the \
         orderly way, 2 threads, from 127.0.0.1 and 127.0.0.2, 0.5 s of warm-up, small messages collected by the system"
    );
    assert!(
        second(&unusual, 0, 0, answers(1000, Duration::from_millis(1)))
            .to_string()
            .contains("(latency with connecting)")
    );
}

#[test]
fn messages_never_sent_are_reported() {
    let unsent = |unsent| second(&plan(), 0, 0, Tally { unsent, ..Tally::default() }).to_string();
    assert!(unsent(7).contains("never sent  7") && !unsent(0).contains("never sent"), "{}", unsent(7));
}

#[test]
fn an_open_loop_is_client_bound_if_late_and_not_if_busy() {
    let plan = Plan { pace: Pace::Rate(1000.0), ..plan() };
    let is_marked = |late: u64| {
        let mut lateness = Latencies::default();
        (0..1000).for_each(|message| lateness.record(if message < late { 50_000_000 } else { 1000 }));
        let report = second(&plan, 1000, 0, Tally { lateness, ..Tally::default() });
        report.marks.contains(&Mark::ClientBound) && report.to_string().contains("sent messages late")
    };
    assert!(is_marked(20));
    assert!(!is_marked(5));
}

#[test]
fn a_sum_shows_the_busiest_thread_with_its_own_wait() {
    let host = |count, cpu, waited| second(&plan(), cpu, waited, answers(count, Duration::from_millis(1)));
    let (calm, kept) = (host(1, 500, 0), host(2, 400, 600));
    for hosts in [[&calm, &kept], [&kept, &calm]] {
        let sum = Report::merge(hosts.map(Clone::clone)).expect("a sum");
        assert_eq!((sum.client.busiest, sum.client.waited), (Some(0.4), Some(0.6)), "{sum}");
    }
}

/// Sets each count to the largest one.
fn exaggerate(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Number(number) if number.is_u64() => *value = u64::MAX.into(),
        serde_json::Value::Array(values) => values.iter_mut().for_each(exaggerate),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(exaggerate),
        _ => {}
    }
}

#[test]
fn counts_that_are_too_large_to_add_stay_at_the_largest() {
    let steps = Steps { from: 1.0, to: 9.0, count: 2, over: Duration::from_secs(1) };
    let plan = Plan { pace: Pace::Steps(steps), ..Plan::new(Target::Udp(SocketAddr::from(([127, 0, 0, 1], 7)))) };
    let datagrams = tally::Datagrams { overflowed: Some(1), ..tally::Datagrams::default() };
    let steps = vec![tally::Step::default(), tally::Step::default()];
    let tally = Tally { datagrams, steps, ..answers(10, Duration::from_millis(1)) };
    let report = second(&plan, 0, 0, tally);
    let mut value = serde_json::to_value(&report).expect("JSON");
    for (field, value) in value.as_object_mut().expect("an object").iter_mut().filter(|(field, _)| *field != "load") {
        exaggerate(value);
        assert!(field != "messages" || *value == u64::MAX, "{value}");
    }
    let host = |opened_at| {
        let report: Report = serde_json::from_value(value.clone()).expect("a report");
        Report { opened_at, ..report }
    };
    let sum = Report::merge([host(0.0), host(0.1)]).expect("a sum");
    assert_eq!([sum.reports, sum.messages, sum.bytes, sum.unsent, sum.failures.total()], [u64::MAX; 5]);
    assert_eq!((sum.steps[1].messages, sum.datagrams.expect("datagrams").sent), (u64::MAX, u64::MAX));
    assert!(sum.to_string().contains("failures    18446744073709551615 could not connect"), "{sum}");
}

#[test]
fn a_file_with_a_number_of_steps_that_no_plan_has_is_shown() {
    let steps = Steps { from: 100.0, to: 300.0, count: 2, over: Duration::from_secs(1) };
    let plan = Plan { pace: Pace::Steps(steps), length: Length::Time(Duration::from_secs(1)), ..plan() };
    for count in [0, 1, 2] {
        let mut report = second(&plan, 0, 0, Tally::default());
        report.load.steps = Some(count);
        assert!(report.to_string().contains("asked for   200 messages/s"), "{count}: {report}");
    }
}
