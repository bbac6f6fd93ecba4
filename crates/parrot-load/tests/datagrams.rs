//! Loads over UDP, to servers that lose, double, reorder, delay and change datagrams. Each is found out as what it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use parrot_load::{Datagrams, Failures, Length, Mark, Pace, Plan, Report, Stop, Target};
use parrot_testkit::PATIENCE;
use parrot_testkit::scripted::{serve_datagrams, serve_datagrams_at};

/// The timeout in tests whose server loses datagrams. No answer takes as long, even on a busy machine.
const SHORT: Duration = Duration::from_millis(500);

/// A server that answers each datagram with what `answers` makes of it and of the number of datagrams before it. The
/// first one asks whether anybody is there.
fn serve(answers: impl FnMut(u64, &[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Target {
    Target::Udp(serve_datagrams(answers))
}

fn echo(_: u64, datagram: &[u8]) -> Vec<Vec<u8>> {
    vec![datagram.to_vec()]
}

/// A closed loop that sends 200 datagrams from four sockets.
fn plan(target: Target) -> Plan {
    Plan {
        connections: 4,
        warmup: Duration::ZERO,
        length: Length::Messages(200),
        datagram_timeout: PATIENCE,
        ..Plan::new(target)
    }
}

fn run(plan: &Plan) -> Report {
    parrot_load::run(plan, &Stop::default(), &mut ()).expect("the run takes place")
}

/// The error of a run that does not take place.
fn refused(plan: &Plan) -> String {
    parrot_load::run(plan, &Stop::default(), &mut ()).map(|report| report.to_string()).unwrap_err().to_string()
}

/// Lost, late, double and overtaken datagrams, and those sent.
fn counts(report: &Report) -> [u64; 5] {
    let Datagrams { sent, lost, late, duplicates, reordered, .. } = report.datagrams.expect("a load over UDP");
    [sent, lost, late, duplicates, reordered]
}

#[test]
fn an_honest_server_passes_with_every_datagram_counted() {
    // Few at once are of the greatest size, because a server's socket holds no more of these.
    let (closed, open) = (Pace::Closed, Pace::Rate(1000.0));
    for (size, connections, pipeline, threads, paces) in [
        (12, 4, 1, 1, &[closed, open][..]),
        (100, 4, 40, 2, &[closed, open]),
        (12, 4, 70, 3, &[closed, open]),
        (1400, 4, 3, 3, &[closed]),
        (65_507, 1, 2, 1, &[closed]),
    ] {
        for pace in paces.iter().copied() {
            let report = run(&Plan { size, connections, pipeline, threads, pace, ..plan(serve(echo)) });
            let case = format!("{size} bytes, {pipeline} under way, {threads} threads: {report}");
            assert_eq!((report.failures, report.unsent), (Failures::default(), 0), "{case}");
            assert_eq!(counts(&report), [200, 0, 0, 0, 0], "{case}");
            assert_eq!(report.latency.count, 200, "{case}");
            assert!(report.marks.iter().all(|mark| *mark != Mark::ConnectionsLost), "{case}");
        }
    }
}

#[test]
fn a_server_has_an_address_of_either_family() {
    let Ok(socket) = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) else {
        return eprintln!("SKIPPED: no IPv6 on this machine");
    };
    let report =
        run(&Plan { size: 65_527, connections: 1, pipeline: 2, ..plan(Target::Udp(serve_datagrams_at(socket, echo))) });
    assert_eq!((counts(&report), report.load.protocol.as_ref()), ([200, 0, 0, 0, 0], "udp"), "{report}");
    assert!(report.load.target.starts_with("udp:[::1]:"));
}

#[test]
fn exactly_the_planned_number_of_datagrams_is_sent() {
    let received = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&received);
    let target = serve(move |number, datagram| {
        counted.store(number, Ordering::Relaxed);
        echo(number, datagram)
    });
    let report = run(&Plan { connections: 7, pipeline: 5, length: Length::Messages(1003), ..plan(target) });
    assert_eq!((report.messages, counts(&report)[0]), (1003, 1003), "{report}");
    assert_eq!(received.load(Ordering::Relaxed), 1003, "after the one that asks");
}

#[test]
fn lost_datagrams_are_counted_and_are_no_failures() {
    for (pipeline, pace) in [(1, Pace::Closed), (8, Pace::Closed), (1, Pace::Rate(500.0))] {
        let target = serve(|number, datagram| if number % 20 == 7 { Vec::new() } else { echo(number, datagram) });
        let report = run(&Plan { pipeline, pace, datagram_timeout: SHORT, ..plan(target) });
        let case = format!("{pipeline} {pace:?}: {report}");
        assert_eq!((counts(&report), report.failures), ([200, 10, 0, 0, 0], Failures::default()), "{case}");
        assert_eq!((report.latency.count, report.unsent), (190, 0), "{case}");
        assert!(case.contains("200 sent, 10 lost (5.000 %)"), "{case}");
        assert!(!report.marks.contains(&Mark::Contradiction), "{case}");
    }
}

#[test]
fn a_lost_datagram_delays_no_other() {
    let target = serve(|number, datagram| if number == 50 { Vec::new() } else { echo(number, datagram) });
    let timeout = Duration::from_secs(2);
    let report = run(&Plan { connections: 1, pace: Pace::Rate(1000.0), datagram_timeout: timeout, ..plan(target) });
    assert_eq!((counts(&report), report.latency.count), ([200, 1, 0, 0, 0], 199), "{report}");
    assert!(report.latency.max < Some(timeout.as_secs_f64() * 1e6), "{report}");
}

#[test]
fn datagrams_that_come_twice_are_duplicates() {
    for (pipeline, pace) in [(1, Pace::Closed), (8, Pace::Closed), (1, Pace::Rate(1000.0))] {
        let report = run(&Plan { pipeline, pace, ..plan(serve(|_, datagram| vec![datagram.to_vec(); 2])) });
        let [sent, lost, late, duplicates, reordered] = counts(&report);
        let case = format!("{pipeline} {pace:?}: {report}");
        assert_eq!(([sent, lost, late, reordered], report.failures), ([200, 0, 0, 0], Failures::default()), "{case}");
        // The run does not wait for the last ones.
        assert!((160..=200).contains(&duplicates), "{case}");
    }
}

#[test]
fn datagrams_that_overtake_others_are_out_of_order() {
    let mut waiting: Option<Vec<u8>> = None;
    let target = serve(move |number, datagram| match waiting.take() {
        Some(before) => vec![datagram.to_vec(), before],
        None if number == 0 => echo(number, datagram),
        None => {
            waiting = Some(datagram.to_vec());
            Vec::new()
        }
    });
    let report = run(&Plan { connections: 1, pipeline: 2, ..plan(target) });
    assert_eq!((counts(&report), report.failures), ([200, 0, 0, 0, 100], Failures::default()), "{report}");
}

#[test]
fn an_answer_after_the_timeout_is_late_and_its_datagram_lost() {
    let mut waiting: Option<Vec<u8>> = None;
    let target = serve(move |number, datagram| {
        if number == 10 {
            waiting = Some(datagram.to_vec()); // until the next one, which comes when this one is given up
            return Vec::new();
        }
        waiting.take().into_iter().chain([datagram.to_vec()]).collect()
    });
    let report = run(&Plan { connections: 1, datagram_timeout: SHORT, ..plan(target) });
    assert_eq!((counts(&report), report.failures), ([200, 1, 1, 0, 0], Failures::default()), "{report}");
}

#[test]
fn datagrams_that_are_not_as_they_were_sent_are_failures() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change); 6] = [
        ("a bit of the number", |datagram| datagram[3] ^= 1),
        ("a bit of the rest", |datagram| datagram[15] ^= 1),
        ("a byte less", |datagram| datagram.truncate(19)),
        ("a byte more", |datagram| datagram.push(b'x')),
        ("nothing left", Vec::clear),
        ("far too much", |datagram| datagram.resize(60_000, b'x')),
    ];
    for (place, (what, change)) in changes.into_iter().enumerate() {
        let pipeline = [1, 8][place % 2];
        let target = serve(move |number, datagram| {
            let mut answer = datagram.to_vec();
            if number == 30 {
                change(&mut answer);
            }
            vec![answer]
        });
        let report = run(&Plan { size: 20, pipeline, datagram_timeout: SHORT, ..plan(target) });
        let case = format!("{what}, {pipeline} under way: {report}");
        assert_eq!((report.failures.mismatch, report.failures.total()), (1, 1), "{case}");
        assert_eq!(counts(&report), [200, 1, 0, 0, 0], "no answer came to it: {case}");
    }
}

#[test]
fn an_answer_meant_for_another_socket_is_a_failure() {
    let mut before = Vec::new();
    let target = serve(move |number, datagram| {
        let last = std::mem::replace(&mut before, datagram.to_vec());
        vec![if number == 100 { last } else { datagram.to_vec() }]
    });
    let report = run(&Plan { datagram_timeout: SHORT, ..plan(target) });
    assert_eq!((report.failures.mismatch, counts(&report)[1]), (1, 1), "{report}");
}

#[test]
fn an_open_loop_charges_a_stall_to_every_datagram_it_delayed() {
    let stall = Duration::from_millis(300);
    let target = serve(move |number, datagram| {
        if number == 100 {
            thread::sleep(stall); // the stall itself
        }
        echo(number, datagram)
    });
    // No more than the server's socket holds.
    let report = run(&Plan { pace: Pace::Rate(500.0), length: Length::Messages(250), ..plan(target) });
    assert_eq!((counts(&report), report.latency.count), ([250, 0, 0, 0, 0], 250), "{report}");
    assert!(report.latency.max >= Some(stall.as_secs_f64() * 1e6 * 0.99), "{report}");
    // Three fifths of the datagrams were due in the stall, so half of all waited for at least a sixth of it.
    assert!(report.latency.p50 >= Some(stall.as_secs_f64() * 1e6 / 7.0), "{report}");
}

#[test]
fn a_rate_that_nobody_keeps_ends_and_is_reported() {
    let (pace, length) = (Pace::Rate(1e7), Length::Time(Duration::from_millis(200)));
    let report = run(&Plan { pace, length, datagram_timeout: SHORT, ..plan(serve(echo)) });
    let sent = counts(&report)[0];
    assert!(report.unsent > 0 && sent + report.unsent == 2_000_000, "{report}");
    assert!(report.marks.contains(&Mark::RateNotReached), "{report}");
}

#[test]
fn nobody_at_a_port_is_an_error_before_the_run() {
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let error = refused(&plan(Target::Udp(closed)));
    assert!(error.contains(&format!("no datagram came back from udp:{closed} (Connection refused")), "{error}");
    assert!(error.contains("is a server listening there?"), "{error}");

    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (target, timeout) = (Target::Udp(silent.local_addr().unwrap()), Duration::from_millis(50));
    let error = refused(&Plan { threads: 2, datagram_timeout: timeout, ..plan(target) });
    assert!(error.contains("no answer to 3 datagrams within 50ms each"), "{error}");
    assert!(error.contains("refuse those of 12 bytes"), "{error}");
}

#[test]
fn a_server_that_loses_the_first_datagrams_is_found() {
    let target = serve(|number, datagram| if number < 2 { Vec::new() } else { echo(number, datagram) });
    let report = run(&Plan { datagram_timeout: SHORT, ..plan(target) });
    assert_eq!(counts(&report), [200, 0, 0, 0, 0], "{report}");
}

#[test]
fn the_first_address_that_answers_is_used() {
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let server = serve(echo);
    let targets = vec![Target::Udp(closed), Target::Udp(silent.local_addr().unwrap()), server.clone(), serve(echo)];
    for threads in [1, 4] {
        let report = run(&Plan { threads, targets: targets.clone(), datagram_timeout: SHORT, ..plan(server.clone()) });
        assert_eq!((counts(&report), report.load.target.clone()), ([200, 0, 0, 0, 0], server.to_string()), "{report}");
    }
}

#[test]
fn a_server_that_goes_away_is_a_failure() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut space = [0; 12];
        for _ in 0..100 {
            let (length, peer) = socket.recv_from(&mut space).unwrap();
            socket.send_to(&space[..length], peer).unwrap();
        }
    });
    let length = Length::Time(Duration::from_secs(2));
    let report = run(&Plan { length, datagram_timeout: SHORT, ..plan(Target::Udp(address)) });
    assert!(report.failures.connect > 0 && report.to_string().contains("refused"), "{report}");
    assert_eq!((report.failures.total(), report.messages), (report.failures.connect, 99), "{report}");
}

#[test]
fn sockets_are_bound_to_the_sources_in_turn() {
    if !cfg!(target_os = "linux") {
        return eprintln!("SKIPPED: elsewhere loopback has one address only");
    }
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let peers = thread::spawn(move || {
        let (mut peers, mut space) = (Vec::new(), [0; 12]);
        while peers.len() < 1 + 4 {
            let (length, peer) = socket.recv_from(&mut space).unwrap();
            socket.send_to(&space[..length], peer).unwrap();
            peers.push(peer.ip().to_string());
        }
        peers.sort();
        peers
    });
    let sources = ["127.0.0.2", "127.0.0.3"].map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).to_vec();
    let report = run(&Plan { sources, length: Length::Messages(4), ..plan(Target::Udp(address)) });
    assert_eq!(counts(&report), [4, 0, 0, 0, 0], "{report}");
    assert_eq!(peers.join().unwrap(), ["127.0.0.2", "127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.3"]);
}

#[test]
fn a_run_that_is_stopped_reports_what_it_has() {
    let stop = Stop::default();
    let stopper = stop.clone();
    let target = serve(move |number, datagram| {
        if number == 100 {
            stopper.stop();
        }
        echo(number, datagram)
    });
    for pace in [Pace::Closed, Pace::Rate(1e7)] {
        let plan = Plan { pace, length: Length::Time(Duration::from_secs(3600)), ..plan(target.clone()) };
        let report = parrot_load::run(&plan, &stop, &mut ());
        if pace == Pace::Closed {
            let report = report.unwrap();
            assert!(report.window < 3600.0 && report.marks.contains(&Mark::StoppedEarly), "{report}");
            assert_eq!((counts(&report)[1], report.failures), (0, Failures::default()), "a stop loses nothing");
        } else {
            assert!(report.is_err(), "the stop holds");
        }
    }
}
