//! Loads of several kinds: connections that are opened again or at a rate, messages of several sizes, a rate in steps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use parrot_load::{Close, Failures, Length, Mark, Pace, Plan, ProxyVersion, Report, Steps, Stop, Target};
use parrot_testkit::PATIENCE;
use parrot_testkit::scripted::{echo, serve, serve_datagrams};

/// How many bytes came on each connection that has ended, in the order of their ends.
type Counts = Arc<Mutex<Vec<usize>>>;

/// Echoes what comes and counts it.
fn echo_counted(mut stream: impl Read + Write, skip: usize, counts: &Counts) -> std::io::Result<()> {
    let mut header = vec![0; skip];
    stream.read_exact(&mut header)?;
    let (mut buffer, mut total) = ([0; 64 << 10], 0);
    loop {
        // A connection that was reset has ended as well.
        let count = stream.read(&mut buffer).unwrap_or(0);
        if count == 0 {
            break;
        }
        total += count;
        stream.write_all(&buffer[..count])?;
    }
    counts.lock().unwrap().push(total);
    Ok(())
}

fn counting() -> (SocketAddr, Counts) {
    let counts = Counts::default();
    let counted = Arc::clone(&counts);
    (serve(move |_, stream| echo_counted(stream, 0, &counted)), counts)
}

/// Waits until so many bytes came in all, and returns how many came on each connection.
fn counted(counts: &Counts, total: usize) -> Vec<usize> {
    parrot_testkit::wait_until("all connections have ended", || counts.lock().unwrap().iter().sum::<usize>() >= total);
    counts.lock().unwrap().clone()
}

/// A short closed loop of four connections that sends 203 messages.
fn plan(target: impl Into<Target>) -> Plan {
    Plan {
        connections: 4,
        warmup: Duration::ZERO,
        length: Length::Messages(203),
        timeout: PATIENCE,
        ..Plan::new(target)
    }
}

fn run(plan: &Plan) -> Report {
    parrot_load::run(plan, &Stop::default(), &mut ()).expect("the run takes place")
}

/// Checks that everything came back, and that no connection carried more than `most` messages of 12 bytes, and all but
/// the last ones exactly as many.
fn check(plan: &Plan, report: &Report, carried: &[usize], most: usize) {
    let case = format!("{plan:?}: {report}");
    assert_eq!((report.failures, report.unsent, report.latency.count), (Failures::default(), 0, 203), "{case}");
    assert_eq!((report.bytes, carried.iter().sum::<usize>()), (report.messages * 12, 203 * 12), "{case}");
    let full = carried.iter().filter(|bytes| **bytes == most * 12).count();
    let partly = carried.iter().filter(|bytes| **bytes != most * 12 && **bytes > 0);
    assert!(partly.clone().all(|bytes| *bytes < most * 12), "{carried:?} in {case}");
    assert!(partly.count() <= plan.connections && full >= 203 / most - plan.connections, "{carried:?} in {case}");
    assert_eq!(report.connecting.latency.count, carried.len() as u64, "{case}");
}

#[test]
fn a_connection_carries_its_messages_and_is_opened_again() {
    for (close, after, pipeline) in
        [(Close::Finish, 1, 1), (Close::Reset, 5, 1), (Close::Finish, 5, 3), (Close::Reset, 7, 7)]
    {
        for pace in [Pace::Closed, Pace::Rate(5000.0)] {
            for (threads, connect_rate) in [(1, None), (3, None), (2, Some(5000.0))] {
                let (address, counts) = counting();
                let reconnect = Some(close.after(after));
                let sources = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
                let load = Plan { reconnect, pace, pipeline, threads, connect_rate, sources, ..plan(address) };
                let report = run(&load);
                check(&load, &report, &counted(&counts, 203 * 12), after as usize);
            }
        }
    }
}

#[test]
fn a_new_connection_has_its_header_and_greeting_again() {
    const HEADER: usize = 28; // of version 2 for IPv4
    let counts = Counts::default();
    let counted_by = Arc::clone(&counts);
    let address = serve(move |_, mut stream: TcpStream| {
        stream.write_all(b"hello\n")?;
        echo_counted(stream, HEADER, &counted_by)
    });
    let (proxy, reconnect) = (Some(ProxyVersion::V2), Some(Close::Finish.after(10)));
    let load = Plan { proxy, skip_greeting: true, reconnect, pipeline: 2, ..plan(address) };
    let report = run(&load);
    let carried = counted(&counts, 203 * 12);
    check(&load, &report, &carried, 10);
    assert_eq!(report.connecting.greetings, carried.len() as u64);
}

#[test]
fn connections_to_a_unix_socket_are_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
    let target = Target::Unix(listener.local_addr().unwrap());
    let counts = Counts::default();
    let counted_by = Arc::clone(&counts);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counts = Arc::clone(&counted_by);
            thread::spawn(move || echo_counted(stream, 0, &counts));
        }
    });
    let load = Plan { reconnect: Some(Close::Finish.after(10)), threads: 2, ..plan(target) };
    let report = run(&load);
    check(&load, &report, &counted(&counts, 203 * 12), 10);
}

#[test]
fn a_connect_rate_holds_for_all_threads_together() {
    for (threads, idle) in [(1, 0), (3, 5)] {
        let load = Plan { connections: 16, threads, idle, connect_rate: Some(100.0), ..plan(counting().0) };
        let report = run(&load);
        assert_eq!((report.failures, report.messages, report.connecting.opened), (Failures::default(), 203, 16 + idle));
        // The last one has its turn after as many distances of 10 ms. A late thread may only make that longer.
        let least = (16 + idle - 1) as f64 * 0.01;
        assert!(report.connecting.elapsed >= least, "{least} s: {report}");
    }
}

#[test]
fn waiting_for_a_turn_is_not_part_of_a_closed_loops_time() {
    let load = Plan {
        connections: 4,
        reconnect: Some(Close::Reset.after(10)),
        connect_rate: Some(20.0),
        length: Length::Messages(100),
        ..plan(counting().0)
    };
    let report = run(&load);
    // Ten connections at 20 a second take 0.45 s, and four of them wait from the start on.
    assert!(report.window >= 0.45 && report.failures == Failures::default(), "{report}");
    assert!(!report.marks.contains(&Mark::Contradiction), "{report}");
    // Four connections that wait for nearly all of the window would have more than three windows together.
    let taken: f64 = report.latency.mean.unwrap() * 100.0 / 1e6;
    assert!(taken < 3.0 * report.window, "all messages together took {taken} s: {report}");
}

#[test]
fn messages_have_sizes_from_end_to_end_and_come_back() {
    // Without a pipeline every receive is a message, as long as it fits into one packet.
    let sizes_of = |connections, threads, pace| {
        let seen = Arc::new(Mutex::new(HashMap::<u64, Vec<usize>>::new()));
        let noted = Arc::clone(&seen);
        let address = serve(move |number, mut stream| {
            let mut buffer = [0; 4096];
            loop {
                let count = stream.read(&mut buffer)?;
                if count == 0 {
                    return Ok(());
                }
                noted.lock().unwrap().entry(number).or_default().push(count);
                stream.write_all(&buffer[..count])?;
            }
        });
        let load = Plan { size: 3, size_to: Some(12), connections, threads, pace, ..plan(address) };
        let report = run(&load);
        assert_eq!((report.failures, report.latency.count), (Failures::default(), 203), "{report}");
        let mut sizes: Vec<Vec<usize>> = seen.lock().unwrap().values().cloned().collect();
        sizes.sort();
        // Answers of an open loop may come after its window, and their bytes are not counted then.
        let all = sizes.iter().flatten().sum::<usize>() as u64;
        assert!(report.bytes == all || (pace != Pace::Closed && report.bytes < all), "{all}: {report}");
        sizes
    };
    let one = sizes_of(1, 1, Pace::Closed);
    for size in 3..=12 {
        assert!(one[0].contains(&size), "no message of {size} bytes: {one:?}");
    }
    assert!(one[0].iter().all(|size| (3..=12).contains(size)), "{one:?}");
    assert_eq!(one, sizes_of(1, 1, Pace::Closed), "two runs send the same sizes");
    let four = [sizes_of(4, 1, Pace::Rate(5000.0)), sizes_of(4, 3, Pace::Rate(5000.0))];
    for (one, other) in four[0].iter().zip(&four[1]) {
        // Three threads share the messages in another way among the connections.
        let both = one.len().min(other.len());
        assert!(both > 30 && one[..both] == other[..both], "whichever thread a connection belongs to: {four:?}");
    }
}

#[test]
fn messages_of_many_sizes_are_checked_to_the_byte() {
    let (size, size_to) = (1, Some(200_000));
    for (pipeline, reconnect) in [(1, None), (8, None), (3, Some(Close::Finish.after(5)))] {
        let report = run(&Plan { size, size_to, pipeline, reconnect, threads: 2, ..plan(counting().0) });
        assert_eq!((report.failures, report.messages), (Failures::default(), 203), "{report}");
        assert!((10_000_000..30_000_000).contains(&report.bytes), "{} bytes", report.bytes);
    }
    let swallowing = serve(|_, mut stream| {
        let mut buffer = [0; 64 << 10];
        for receive in 0.. {
            let count = stream.read(&mut buffer)?;
            stream.write_all(&buffer[usize::from(receive == 3)..count])?;
        }
        Ok(())
    });
    let report = run(&Plan { size: 50, size_to: Some(60), ..plan(swallowing) });
    assert_eq!(report.failures.mismatch, 4, "a byte is missing on each of 4 connections: {report}");
}

#[test]
fn datagrams_have_sizes_of_their_own() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let address = serve_datagrams(move |_, datagram| {
        noted.lock().unwrap().push(datagram.len());
        vec![datagram.to_vec()]
    });
    for pipeline in [1, 8] {
        let load = Plan { size: 12, size_to: Some(1200), pipeline, ..plan(Target::Udp(address)) };
        let report = run(&load);
        assert_eq!((report.failures, report.messages), (Failures::default(), 203), "{report}");
        let sizes = std::mem::take(&mut *seen.lock().unwrap());
        assert!(sizes.iter().all(|size| (12..=1200).contains(size)), "{sizes:?}");
        assert!(sizes.iter().any(|size| *size < 200) && sizes.iter().any(|size| *size > 1000), "{sizes:?}");
        let probe = sizes[0] as u64;
        assert_eq!(sizes.iter().sum::<usize>() as u64, probe + report.bytes, "{report}");
    }
    let cutting = serve_datagrams(|_, datagram| vec![datagram[..datagram.len() - 1].to_vec()]);
    let report = run(&Plan {
        size: 20,
        size_to: Some(30),
        length: Length::Messages(8),
        datagram_timeout: Duration::from_millis(100),
        ..plan(Target::Udp(cutting))
    });
    assert_eq!((report.failures.mismatch, report.messages), (8, 0), "{report}");
}

#[test]
fn each_step_of_a_rate_has_its_own_figures() {
    let server = serve(|_, stream| echo(stream));
    let datagrams = serve_datagrams(|_, datagram| vec![datagram.to_vec()]);
    for (target, threads) in [(Target::from(server), 1), (server.into(), 3), (Target::Udp(datagrams), 1)] {
        let over = Duration::from_millis(900);
        let load = Plan {
            pace: Pace::Steps(Steps { from: 200.0, to: 1000.0, count: 3, over }),
            length: Length::Time(over),
            warmup: Duration::from_millis(100),
            threads,
            ..plan(target)
        };
        let report = run(&load);
        assert_eq!(report.failures, Failures::default(), "{report}");
        assert_eq!(report.steps.iter().map(|step| step.rate).collect::<Vec<f64>>(), [200.0, 600.0, 1000.0]);
        // By when they were due, each step has 0.3 s of its rate, except for rounding at its ends.
        let due: Vec<u64> = report.steps.iter().map(|step| step.latency.count).collect();
        for (due, expected) in due.iter().zip([60, 180, 300]) {
            assert!(*due <= expected + 3, "{due} of {expected}: {report}");
        }
        // A machine that stalls at the end may leave some of them unsent.
        assert!((due.iter().sum::<u64>() + report.unsent).abs_diff(540) <= 9, "{report}");
        assert_eq!(due.iter().sum::<u64>(), report.latency.count, "{report}");
        assert_eq!(report.steps.iter().map(|step| step.messages).sum::<u64>(), report.messages, "{report}");
        let text = report.to_string();
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("       ")).collect();
        assert!(rows.iter().any(|row| row.trim_start().starts_with("1,000 ")), "{text}");
        assert!(text.contains("in 3 steps over 0.9 s"), "{text}");
    }
}

#[test]
fn steps_of_several_reports_add_up_and_others_are_refused() {
    let over = Duration::from_millis(200);
    let steps = |count| Plan {
        pace: Pace::Steps(Steps { from: 500.0, to: 1000.0, count, over }),
        length: Length::Time(over),
        ..plan(serve(|_, stream| echo(stream)))
    };
    let server = steps(2).targets;
    let [one, two, three] = [2, 2, 3].map(|count| run(&Plan { targets: server.clone(), ..steps(count) }));
    let sum = Report::merge([one.clone(), two.clone()]).unwrap();
    for (place, step) in sum.steps.iter().enumerate() {
        assert_eq!(step.messages, one.steps[place].messages + two.steps[place].messages);
        assert_eq!(step.latency.count, one.steps[place].latency.count + two.steps[place].latency.count);
    }
    assert_eq!(sum.bytes, one.bytes + two.bytes);
    assert!(Report::merge([one, three]).unwrap_err().to_string().contains("steps differs"));
    let plain = run(&plan(server[0].clone()));
    for (change, differs) in [
        (Plan { size_to: Some(99), ..plan(server[0].clone()) }, "size_to"),
        (Plan { connect_rate: Some(1e5), ..plan(server[0].clone()) }, "connect_rate"),
        (Plan { reconnect: Some(Close::Reset.after(50)), ..plan(server[0].clone()) }, "reconnect"),
    ] {
        let refused = Report::merge([plain.clone(), run(&change)]).unwrap_err().to_string();
        assert!(refused.contains(&format!("{differs} differs")), "{refused}");
    }
    let each = |after| run(&Plan { reconnect: Some(Close::Reset.after(after)), ..plan(server[0].clone()) });
    let refused = Report::merge([each(50), each(51)]).unwrap_err().to_string();
    assert!(refused.contains("messages_per_connection differs"), "{refused}");
}

#[test]
fn owed_messages_count_when_connections_are_opened_again() {
    let silent = serve(|_, mut stream| stream.read_to_end(&mut Vec::new()).map(drop));
    let load = Plan {
        connections: 2,
        reconnect: Some(Close::Reset.after(5)),
        pace: Pace::Rate(100.0),
        length: Length::Time(Duration::from_millis(300)),
        timeout: Duration::from_millis(500),
        ..plan(silent)
    };
    let report = run(&load);
    assert_eq!((report.messages, report.latency.count), (0, 30), "every message was due and none came back: {report}");
    assert!(report.latency.p50 > Some(300_000.0) && report.failures.timeout >= 2, "{report}");
}
