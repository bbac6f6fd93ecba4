//! The load generator against servers that lie: each is caught, and counted as what it did.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parrot_load::{Close, Failures, Length, Mark, Pace, Plan, Report, Stop};

/// A server that serves each connection with `serve`, on a thread of its own, for as long as the test runs.
fn server(serve: impl Fn(TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Answers every receive with what `answer` makes of it.
fn answering(answer: impl Fn(u64, &[u8]) -> Vec<u8> + Send + Sync + 'static) -> SocketAddr {
    server(move |mut stream| {
        let mut buffer = vec![0; 64 << 10];
        for receive in 0.. {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            stream.write_all(&answer(receive, &buffer[..count]))?;
        }
        Ok(())
    })
}

fn honest() -> SocketAddr {
    answering(|_, bytes| bytes.to_vec())
}

/// A short closed loop of four connections, changed by `change`.
fn run(address: SocketAddr, change: impl FnOnce(&mut Plan)) -> Report {
    let mut plan = Plan {
        connections: 4,
        warmup: Duration::ZERO,
        length: Length::Messages(200),
        timeout: Duration::from_millis(400),
        ..Plan::new(address)
    };
    change(&mut plan);
    parrot_load::run(&plan, &Stop::default(), &mut ()).expect("a run that takes place")
}

#[test]
fn an_honest_server_passes_and_every_message_is_counted() {
    for (size, pipeline, threads) in [(1, 1, 1), (12, 8, 2), (5000, 3, 3), (300_000, 2, 1)] {
        let report = run(honest(), |plan| {
            (plan.size, plan.pipeline, plan.threads) = (size, pipeline, threads);
            plan.timeout = Duration::from_secs(20);
        });
        let case = format!("{size} bytes, {pipeline} under way, {threads} threads: {report}");
        assert_eq!(report.failures, Failures::default(), "{case}");
        assert_eq!((report.messages, report.latency.count), (200, 200), "{case}");
    }
}

#[test]
fn exactly_as_many_messages_as_asked_for_are_sent() {
    let received = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&received);
    let address = answering(move |_, bytes| {
        counted.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        bytes.to_vec()
    });
    let report = run(address, |plan| (plan.connections, plan.length) = (7, Length::Messages(1003)));
    assert_eq!(report.messages, 1003);
    assert_eq!(received.load(Ordering::Relaxed), 1003 * 12, "12 bytes for each message, and not one more");
}

#[test]
fn a_server_that_swallows_a_byte_is_caught() {
    for place in [0, 5] {
        let address = answering(move |receive, bytes| {
            let mut bytes = bytes.to_vec();
            if receive == 3 {
                bytes.remove(place);
            }
            bytes
        });
        assert_eq!(run(address, |_| {}).failures.mismatch, 4, "byte {place} on each of 4 connections");
    }
}

#[test]
fn a_server_that_swallows_the_last_byte_of_an_answer_is_caught_by_its_silence() {
    let address = answering(|receive, bytes| bytes[..bytes.len() - usize::from(receive == 3)].to_vec());
    assert_eq!(run(address, |_| {}).failures.timeout, 4);
}

#[test]
fn a_server_that_answers_twice_is_caught() {
    let address = answering(|receive, bytes| bytes.repeat(if receive == 3 { 2 } else { 1 }));
    let failures = run(address, |_| {}).failures;
    // The second answer is unasked for, unless the next message was sent before it came: then it is the wrong one.
    assert_eq!(failures.unasked + failures.mismatch, 4, "{failures}");
}

#[test]
fn a_server_that_answers_with_other_bytes_is_caught() {
    let address = answering(|receive, bytes| bytes.iter().map(|byte| byte ^ u8::from(receive == 3)).collect());
    assert_eq!(run(address, |_| {}).failures.mismatch, 4);
}

#[test]
fn a_server_that_answers_a_message_with_the_one_before_is_caught() {
    let address = server(|mut stream| {
        let (mut before, mut message) = ([0; 12], [0; 12]);
        stream.read_exact(&mut before)?;
        stream.write_all(&before)?;
        stream.read_exact(&mut message)?;
        stream.write_all(&before)?;
        stream.read_exact(&mut message)
    });
    assert_eq!(run(address, |_| {}).failures.mismatch, 4);
}

#[test]
fn a_server_that_closes_early_is_caught() {
    let address = server(|mut stream| {
        let mut message = [0; 12];
        for _ in 0..3 {
            stream.read_exact(&mut message)?;
            stream.write_all(&message)?;
        }
        stream.read_exact(&mut message)?;
        stream.write_all(&message[..6]) // and no more
    });
    let report = run(address, |_| {});
    assert_eq!(report.failures.closed, 4, "{}", report.failures);
    assert_eq!(report.messages, 12);
    assert!(report.marks.contains(&Mark::ConnectionsLost), "{report}");
}

#[test]
fn a_server_that_stalls_is_caught() {
    let address = answering(|receive, bytes| if receive < 3 { bytes.to_vec() } else { Vec::new() });
    let report = run(address, |_| {});
    assert_eq!((report.failures.timeout, report.messages), (4, 12), "{report}");
}

#[test]
fn an_idle_connection_that_the_server_ends_is_caught() {
    let accepted = AtomicU64::new(0);
    let address = server(move |mut stream| {
        if accepted.fetch_add(1, Ordering::Relaxed) == 1 {
            return Ok(()); // the first of the idle ones is closed at once
        }
        std::io::copy(&mut stream.try_clone()?, &mut stream).map(drop)
    });
    let report = run(address, |plan| {
        (plan.connections, plan.idle) = (1, 3);
        plan.length = Length::Time(Duration::from_millis(300));
    });
    assert_eq!(report.failures.closed, 1, "{report}");
}

#[test]
fn a_server_that_is_not_there_is_an_error_that_says_so() {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let error = parrot_load::run(&Plan::new(address), &Stop::default(), &mut ()).unwrap_err();
    assert!(error.to_string().contains("is a server listening there?"), "{error}");
}

#[test]
fn a_connection_for_each_message_opens_as_many_as_messages() {
    for close in [Close::Finish, Close::Reset] {
        let accepted = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&accepted);
        let address = server(move |mut stream| {
            counted.fetch_add(1, Ordering::Relaxed);
            std::io::copy(&mut stream.try_clone()?, &mut stream).map(drop)
        });
        let report = run(address, |plan| (plan.reconnect, plan.timeout) = (Some(close), Duration::from_secs(10)));
        assert_eq!((report.failures, report.messages), (Failures::default(), 200), "{close:?}: {report}");
        assert_eq!(accepted.load(Ordering::Relaxed), 200, "{close:?}");
    }
}

/// Echoes, but once, `after` the first byte, lets everyone wait for `stall`.
fn stalling(after: Duration, stall: Duration) -> SocketAddr {
    let begun = std::sync::OnceLock::new();
    answering(move |_, bytes| {
        let elapsed = begun.get_or_init(Instant::now).elapsed();
        if elapsed > after && elapsed < after + stall {
            thread::sleep(after + stall - elapsed);
        }
        bytes.to_vec()
    })
}

/// Whether the load generator says itself that it had no time to keep its timetable, as on a machine that is emulated.
fn is_too_slow_here(report: &Report) -> bool {
    let late = report.marks.contains(&Mark::ClientBound);
    if late {
        eprintln!("SKIPPED: this machine has too little time for an open loop\n{report}");
    }
    late
}

#[test]
fn an_open_loop_charges_a_stall_to_every_message_it_delayed() {
    let (window, stall) = (Duration::from_secs(2), Duration::from_millis(500));
    let report = run(stalling(Duration::from_millis(500), stall), |plan| {
        plan.pace = Pace::Rate(1000.0);
        plan.length = Length::Time(window);
        plan.timeout = Duration::from_secs(5);
    });
    assert_eq!(report.failures, Failures::default(), "{report}");
    // A quarter of the messages fell due during the stall and waited 250 ms on average: P90 is among them.
    let milliseconds = report.latency.p90 / 1e3;
    let shown = (200.0..600.0).contains(&milliseconds);
    if !shown && is_too_slow_here(&report) {
        return;
    }
    assert!(shown, "P90 of {milliseconds} ms\n{report}");
    // Timed from the send only the four that were under way look slow.
    let service = report.service.unwrap();
    assert!(service.p90 < 50_000.0, "the stall is hidden from those who time the sends: {report}");
    assert!((1990..=2010).contains(&report.latency.count), "{report}");
}

#[test]
fn an_open_loop_charges_a_stall_that_never_ends() {
    let report = run(stalling(Duration::from_millis(300), Duration::from_secs(60)), |plan| {
        plan.pace = Pace::Rate(500.0);
        plan.length = Length::Time(Duration::from_secs(1));
        plan.timeout = Duration::from_millis(500);
    });
    assert_eq!(report.failures.timeout, 4, "{report}");
    assert!(report.latency.p90 > 400_000.0, "P90 shows the stall: {report}");
    assert!(report.marks.contains(&Mark::RateNotReached), "{report}");
}

#[test]
fn an_open_loop_keeps_its_rate_and_says_when_it_cannot() {
    let rate = |rate| {
        run(honest(), move |plan| {
            plan.pace = Pace::Rate(rate);
            plan.length = Length::Time(Duration::from_secs(1));
            plan.timeout = Duration::from_secs(5);
        })
    };
    let kept = rate(200.0);
    let near = (kept.messages_per_second - 200.0).abs() < 4.0;
    assert!(near || is_too_slow_here(&kept), "{kept}");
    let impossible = rate(2_000_000.0);
    assert!(impossible.marks.contains(&Mark::RateNotReached), "{impossible}");
}

#[test]
fn connections_that_wait_in_vain_make_throughput_and_latency_contradict_the_concurrency() {
    let accepted = AtomicU64::new(0);
    let address = server(move |mut stream| {
        if accepted.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            thread::sleep(Duration::from_secs(30)); // half of the connections are never served
        }
        std::io::copy(&mut stream.try_clone()?, &mut stream).map(drop)
    });
    let report = run(address, |plan| {
        plan.length = Length::Time(Duration::from_millis(500));
        plan.timeout = Duration::from_secs(2);
    });
    assert!(report.marks.contains(&Mark::Contradiction), "{report}");
    assert!(report.concurrency < 3.0, "two of four were served: {report}");
}

#[test]
fn a_run_that_is_stopped_reports_what_it_has() {
    let stop = Stop::default();
    let plan = Plan { warmup: Duration::ZERO, connections: 4, ..Plan::new(honest()) };
    let stopper = stop.clone();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        stopper.stop();
    });
    let report = parrot_load::run(&plan, &stop, &mut ()).unwrap();
    assert!(report.messages > 0 && report.window < 5.0, "{report}");
    assert_eq!(report.failures, Failures::default(), "who stops has not seen a failure");
}
