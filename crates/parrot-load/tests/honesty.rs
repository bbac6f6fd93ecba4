//! The load generator against servers that lie. Each lie is found and counted as what it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use parrot_load::{Arrivals, Close, Failures, Length, Mark, Pace, Plan, Ramp, Report, Stop};
use parrot_testkit::PATIENCE;
use parrot_testkit::scripted::{echo, reply, serve};

/// The timeout in tests whose server falls silent.
const SILENCE: Duration = Duration::from_secs(2);

const HOUR: Length = Length::Time(Duration::from_secs(3600));

/// A server that replies to every receive with what `answer` makes of it and of the number of receives before it.
fn answering(answer: impl Fn(u64, &[u8]) -> Vec<u8> + Send + Sync + 'static) -> SocketAddr {
    serve(move |_, stream| reply(stream, &answer))
}

fn honest() -> SocketAddr {
    answering(|_, bytes| bytes.to_vec())
}

/// An address at which nobody listens, and which nobody can take while the connection lives.
///
/// It is that of a connection and not of a socket that is bound and does not listen, because NetBSD drops what is sent
/// to such a socket (TCPS_CLOSED of tcp_input in sys/netinet/tcp_input.c).
fn unused_address() -> ([TcpStream; 2], SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let near = TcpStream::connect(address).unwrap();
    let (far, _) = listener.accept().unwrap();
    ([near, far], address)
}

/// A short closed loop of four connections.
fn plan(address: SocketAddr) -> Plan {
    Plan {
        connections: 4,
        warmup: Duration::ZERO,
        length: Length::Messages(200),
        timeout: PATIENCE,
        ..Plan::new(address)
    }
}

/// The report on a run of [`plan`], changed by `change`.
fn run(address: SocketAddr, change: impl FnOnce(&mut Plan)) -> Report {
    let mut plan = plan(address);
    change(&mut plan);
    parrot_load::run(&plan, &Stop::default(), &mut ()).expect("the run takes place")
}

#[test]
fn an_honest_server_passes_with_every_message_counted() {
    for (size, pipeline, threads) in [(1, 1, 1), (12, 8, 2), (5000, 3, 3), (300_000, 2, 1)] {
        let report = run(honest(), |plan| {
            (plan.size, plan.pipeline, plan.threads) = (size, pipeline, threads);
        });
        let case = format!("{size} bytes, {pipeline} under way, {threads} threads: {report}");
        assert_eq!(report.failures, Failures::default(), "{case}");
        assert_eq!((report.messages, report.latency.count), (200, 200), "{case}");
    }
}

#[test]
fn exactly_the_planned_number_of_messages_is_sent() {
    let received = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&received);
    let address = answering(move |_, bytes| {
        counted.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        bytes.to_vec()
    });
    let report = run(address, |plan| (plan.connections, plan.length) = (7, Length::Messages(1003)));
    assert_eq!(report.messages, 1003);
    assert_eq!(received.load(Ordering::Relaxed), 1003 * 12, "12 bytes for each message");
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
fn a_server_that_swallows_the_last_byte_times_out() {
    let address = answering(|receive, bytes| bytes[..bytes.len() - usize::from(receive == 3)].to_vec());
    assert_eq!(run(address, |plan| plan.timeout = SILENCE).failures.timeout, 4);
}

#[test]
fn a_server_that_answers_twice_is_caught() {
    let address = answering(|receive, bytes| bytes.repeat(if receive == 3 { 2 } else { 1 }));
    let failures = run(address, |_| {}).failures;
    // The second answer counts as extra bytes, or as wrong ones if the next message was sent before it came.
    assert_eq!(failures.unasked + failures.mismatch, 4, "{failures}");
}

#[test]
fn a_server_that_answers_with_other_bytes_is_caught() {
    let address = answering(|receive, bytes| bytes.iter().map(|byte| byte ^ u8::from(receive == 3)).collect());
    assert_eq!(run(address, |_| {}).failures.mismatch, 4);
}

#[test]
fn a_server_that_repeats_the_message_before_is_caught() {
    let address = serve(|_, mut stream| {
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
    let address = serve(|_, mut stream| {
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
    let report = run(address, |plan| plan.timeout = SILENCE);
    assert_eq!((report.failures.timeout, report.messages), (4, 12), "{report}");
}

#[test]
fn an_idle_connection_that_the_server_closes_is_caught() {
    let (ended, end) = mpsc::channel();
    let end = Mutex::new(end);
    let address = serve(move |number, stream| {
        match number {
            // The active connection gets its answer once the first idle one is closed.
            0 => end.lock().unwrap().recv().unwrap(),
            1 => {
                drop(stream);
                ended.send(()).unwrap();
                return Ok(());
            }
            _ => {}
        }
        echo(stream)
    });
    let report = run(address, |plan| (plan.connections, plan.idle) = (1, 3));
    assert_eq!((report.failures.closed, report.failures.total()), (1, 1), "{report}");
}

#[test]
fn a_closed_idle_connection_counts_as_lost_with_reconnect() {
    // Idle connections are opened first.
    let address = serve(|number, stream| if number == 0 { Ok(()) } else { echo(stream) });
    let report = run(address, |plan| (plan.idle, plan.reconnect) = (3, Some(Close::Reset.after(1))));
    assert!(report.marks.contains(&Mark::ConnectionsLost), "{report}");
    assert_eq!((report.connecting.opened, report.connecting.open), (3, 2), "{report}");
}

#[test]
fn a_missing_server_is_reported_as_an_error() {
    let (_connection, address) = unused_address();
    for reconnect in [None, Some(Close::Finish.after(1))] {
        let plan = Plan { reconnect, length: Length::Messages(4), ..plan(address) };
        let error = parrot_load::run(&plan, &Stop::default(), &mut ()).unwrap_err().to_string();
        assert!(error.contains("refused") && error.contains("is a server listening there?"), "{error}");
    }
}

#[test]
fn a_refused_connection_is_counted_without_a_timeout() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut listener = Some(listener);
        for served in 1..=3 {
            let (mut stream, _) = listener.as_ref().unwrap().accept().unwrap();
            let mut message = [0; 12];
            stream.read_exact(&mut message).unwrap();
            if served == 3 {
                // Before the answer. Otherwise the next connection would wait in the backlog and be reset.
                listener = None;
            }
            stream.write_all(&message).unwrap();
        }
    });
    let report = run(address, |plan| {
        (plan.connections, plan.reconnect) = (1, Some(Close::Finish.after(1)));
        plan.length = Length::Messages(8);
    });
    assert_eq!((report.messages, report.failures.timeout), (3, 0), "{report}");
    assert!(report.failures.connect > 0 && report.to_string().contains("refused"), "{report}");
}

#[test]
fn reconnect_opens_one_connection_for_each_message() {
    for close in [Close::Finish, Close::Reset] {
        let accepted = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&accepted);
        let address = serve(move |_, stream| {
            counted.fetch_add(1, Ordering::Relaxed);
            echo(stream)
        });
        let report = run(address, |plan| plan.reconnect = Some(close.after(1)));
        assert_eq!((report.failures, report.messages), (Failures::default(), 200), "{close:?}: {report}");
        assert_eq!(accepted.load(Ordering::Relaxed), 200, "{close:?}");
    }
}

/// A server that echoes `number` messages, reports that it stalls, and goes on when the sender is dropped.
fn stalling(number: u64) -> (SocketAddr, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (stalled, stall) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (asked, gate) = (AtomicU64::new(0), Mutex::new(released));
    let address = answering(move |_, bytes| {
        let before = asked.fetch_add(1, Ordering::Relaxed);
        if before == number {
            stalled.send(()).unwrap();
        }
        if before >= number {
            // One thread waits for the release and the others for the gate. After the release no thread waits.
            let _ = gate.lock().unwrap().recv();
        }
        bytes.to_vec()
    });
    (address, stall, release)
}

#[test]
fn an_open_loop_charges_a_stall_to_every_message_it_delayed() {
    let (address, stall, release) = stalling(500);
    let stalled = thread::spawn(move || {
        stall.recv().unwrap();
        let begun = Instant::now();
        thread::sleep(Duration::from_millis(500)); // the stall itself: a quarter of the window
        let stalled = begun.elapsed();
        drop(release);
        stalled
    });
    let report = run(address, |plan| {
        plan.pace = Pace::Rate(1000.0);
        plan.length = Length::Time(Duration::from_secs(2));
    });
    let stalled = stalled.join().unwrap().as_secs_f64() * 1e6;
    assert_eq!((report.failures, report.latency.count), (Failures::default(), 2000), "{report}");
    assert!(report.latency.max >= Some(stalled * 0.99), "a stall of {stalled} us\n{report}");
    // An eighth of the messages fell due in the first half of the stall, and waited for at least the other half.
    assert!(report.latency.p90 >= Some(stalled * 0.45), "a stall of {stalled} us\n{report}");
    // Measured from the send, only the four messages that were under way look slow.
    let service = report.service.unwrap();
    assert!(service.p90.map(|p90| p90 * 2.0) < report.latency.p90, "latency from the send hides the stall: {report}");
}

#[test]
fn p999_shows_short_stalls_that_times_from_the_send_hide() {
    // The server does nothing for 100 ms of each second, like one that collects garbage.
    let begun = Instant::now();
    let address = answering(move |_, bytes| {
        let into_second = begun.elapsed().subsec_millis();
        if into_second < 100 {
            thread::sleep(Duration::from_millis(u64::from(100 - into_second)));
        }
        bytes.to_vec()
    });
    let report = run(address, |plan| {
        plan.connections = 1;
        plan.pace = Pace::Rate(4000.0);
        plan.length = Length::Time(Duration::from_secs(3));
    });
    // A tenth of the messages fell due in a stall. Of those that were sent, one in 4,000 was under way in it.
    let (corrected, uncorrected) = (report.latency.p999.unwrap(), report.service.unwrap().p999.unwrap());
    assert!(corrected > 90_000.0, "the stall of 100 ms is missing\n{report}");
    assert!(uncorrected < 50_000.0, "{report}");
}

#[test]
fn an_open_loop_charges_a_stall_that_never_ends() {
    let (address, _stall, _release) = stalling(100);
    let report = run(address, |plan| {
        plan.pace = Pace::Rate(500.0);
        plan.length = Length::Time(Duration::from_secs(1));
        plan.timeout = SILENCE;
    });
    assert_eq!(report.failures.timeout, 4, "{report}");
    // The window takes one second and the timeout two, so messages that fell due in the stall waited more than one.
    assert!(report.latency.p90 > Some(1e6), "P90 hides the stall: {report}");
    assert!(report.marks.contains(&Mark::RateNotReached), "{report}");
}

#[test]
fn an_open_loop_sends_as_many_messages_as_its_rate_says() {
    let report = run(honest(), |plan| {
        plan.pace = Pace::Rate(200.0);
        plan.length = Length::Time(Duration::from_secs(1));
    });
    assert_eq!((report.failures, report.latency.count), (Failures::default(), 200), "{report}");
}

#[test]
fn a_changing_rate_sends_what_lies_below_its_slope() {
    let times = Arc::new(Mutex::new(Vec::new()));
    let received = Arc::clone(&times);
    let address = answering(move |_, bytes| {
        // Messages that are late leave together.
        received.lock().unwrap().extend(std::iter::repeat_n(Instant::now(), bytes.len() / 12));
        bytes.to_vec()
    });
    let over = Duration::from_secs(2);
    let report = run(address, |plan| {
        plan.pace = Pace::Ramp(Ramp { from: 100.0, to: 900.0, over });
        plan.length = Length::Time(over);
    });
    assert_eq!((report.failures, report.latency.count), (Failures::default(), 1000), "{report}");
    // On average, less what the window opens late.
    let mut means = 490..=510;
    assert!(means.any(|mean| report.to_string().contains(&format!("asked for   {mean} messages/s"))), "{report}");
    let times = times.lock().unwrap();
    let halfway = times[0] + over / 2;
    // The first half has 300 messages and the second one 700, if none is late. At an even rate both had 500.
    let first = times.iter().filter(|time| **time < halfway).count();
    assert!((150..450).contains(&first), "{first} of {} in the first half", times.len());
}

#[test]
fn random_arrivals_keep_the_rate_on_average() {
    let report = run(honest(), |plan| {
        (plan.pace, plan.arrivals) = (Pace::Rate(300.0), Arrivals::Poisson);
        plan.length = Length::Time(Duration::from_secs(2));
    });
    // Five deviations to both sides of 600.
    assert!((480..720).contains(&report.latency.count), "{report}");
    assert_eq!((report.failures, report.unsent), (Failures::default(), 0), "{report}");
    assert!(!report.marks.contains(&Mark::RateNotReached), "{report}");
    assert!(report.to_string().contains("at random times"), "{report}");
}

#[test]
fn a_rate_beyond_the_server_is_marked_as_not_reached() {
    // Four connections that each take a millisecond per answer allow 4,000 messages a second at most.
    let address = answering(|_, bytes| {
        thread::sleep(Duration::from_millis(1));
        bytes.to_vec()
    });
    let report = run(address, |plan| {
        plan.pace = Pace::Rate(50_000.0);
        plan.length = Length::Time(Duration::from_millis(100));
    });
    assert!(report.marks.contains(&Mark::RateNotReached), "{report}");
}

#[test]
fn connections_that_are_never_served_are_a_contradiction() {
    let address = serve(|number, stream| {
        while number.is_multiple_of(2) {
            thread::park(); // half of the connections are never served
        }
        echo(stream)
    });
    let report = run(address, |plan| {
        plan.length = Length::Time(Duration::from_secs(2));
        plan.timeout = Duration::from_secs(3);
    });
    assert!(report.marks.contains(&Mark::Contradiction), "{report}");
    assert!(report.concurrency < Some(3.0), "only two of four were served: {report}");
}

#[test]
fn fewer_messages_than_connections_are_no_contradiction() {
    let report = run(honest(), |plan| (plan.connections, plan.length) = (50, Length::Messages(20)));
    assert!(report.messages == 20 && !report.marks.contains(&Mark::Contradiction), "{report}");
}

#[test]
fn lost_connections_are_no_contradiction() {
    let address = serve(|number, stream| if number < 2 { Ok(()) } else { echo(stream) });
    let report = run(address, |plan| plan.length = Length::Messages(2000));
    assert_eq!(report.failures.closed + report.failures.reset, 2, "{report}");
    assert!(report.marks.contains(&Mark::ConnectionsLost), "{report}");
    assert!(!report.marks.contains(&Mark::Contradiction), "{report}");
}

/// A server that echoes, and asks for a stop after a hundred messages.
fn stopping_after_a_hundred() -> (SocketAddr, Stop) {
    let stop = Stop::default();
    let (stopper, answered) = (stop.clone(), AtomicU64::new(0));
    let address = answering(move |_, bytes| {
        if answered.fetch_add(1, Ordering::Relaxed) == 100 {
            stopper.stop();
        }
        bytes.to_vec()
    });
    (address, stop)
}

#[test]
fn a_run_that_is_stopped_reports_what_it_has() {
    let (address, stop) = stopping_after_a_hundred();
    let plan = Plan { length: HOUR, ..plan(address) };
    let report = parrot_load::run(&plan, &stop, &mut ()).unwrap();
    assert!(report.messages >= 100 - 4 && report.window < 3600.0, "{report}");
    assert!(report.marks.contains(&Mark::StoppedEarly), "{report}");
    assert_eq!(report.failures, Failures::default(), "a stop is no failure");
}

#[test]
fn an_impossible_rate_can_be_stopped() {
    let (address, stop) = stopping_after_a_hundred();
    let plan = Plan { pace: Pace::Rate(1e7), length: HOUR, ..plan(address) };
    let report = parrot_load::run(&plan, &stop, &mut ()).unwrap();
    assert!(report.window < 3600.0, "{report}");
}

#[test]
fn a_run_stopped_before_its_window_is_an_error() {
    let (address, stop) = stopping_after_a_hundred();
    let plan = Plan { warmup: Duration::from_secs(3600), ..plan(address) };
    for when in ["warming up", "connecting"] {
        let error = parrot_load::run(&plan, &stop, &mut ()).expect_err(when).to_string();
        assert!(error.contains("stopped before the window"), "{when}: {error}");
    }
}
