//! Which address the load connects to, and what it says when it cannot connect.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parrot_load::{Close, Failures, Length, Pace, Plan, Report, Stop};
use parrot_testkit::PATIENCE;
use parrot_testkit::scripted::{echo, serve};

/// Addresses at which nobody listens. These ports belong to services that no machine runs any more.
fn nobody() -> [SocketAddr; 2] {
    [1, 11].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// A short closed loop of four connections to a server with these addresses.
fn plan(targets: &[SocketAddr]) -> Plan {
    Plan {
        targets: targets.to_vec(),
        connections: 4,
        warmup: Duration::ZERO,
        length: Length::Messages(200),
        timeout: PATIENCE,
        ..Plan::new(targets[0])
    }
}

fn run(plan: &Plan) -> Report {
    parrot_load::run(plan, &Stop::default(), &mut ()).expect("the run takes place")
}

/// The error of a run that does not take place.
fn refused(plan: &Plan) -> String {
    parrot_load::run(plan, &Stop::default(), &mut ()).unwrap_err().to_string()
}

#[test]
fn the_first_address_that_takes_a_connection_is_used() {
    let first = serve(|_, stream| echo(stream));
    let second = serve(|_, stream| echo(stream));
    for reconnect in [None, Some(Close::Finish), Some(Close::Reset)] {
        for pace in [Pace::Closed, Pace::Rate(2000.0)] {
            for (threads, idle) in [(1, 0), (3, 0), (2, 5)] {
                let load = Plan { reconnect, pace, threads, idle, ..plan(&[&nobody()[..], &[first, second]].concat()) };
                let report = run(&load);
                let case = format!("{load:?}: {report}");
                assert_eq!((report.failures, report.unsent), (Failures::default(), 0), "{case}");
                assert_eq!((report.load.target, report.latency.count), (first.to_string(), 200), "{case}");
                assert_eq!(report.connecting.error, None, "the first address is not the server: {case}");
            }
        }
    }
}

#[test]
fn a_choice_of_addresses_costs_no_further_connection() {
    let accepted = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&accepted);
    let server = serve(move |_, stream| {
        counted.fetch_add(1, Ordering::Relaxed);
        echo(stream)
    });
    assert_eq!(run(&plan(&[nobody()[0], server])).failures, Failures::default());
    assert_eq!(accepted.load(Ordering::Relaxed), 4);
}

#[test]
fn a_silent_address_gives_way_after_the_timeout() {
    if !cfg!(target_os = "linux") {
        return eprintln!("SKIPPED: elsewhere a full backlog is not silent");
    }
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    rustix::net::listen(&silent, 0).unwrap();
    let address = silent.local_addr().unwrap();
    let _fills_the_backlog = TcpStream::connect(address).unwrap();
    let server = serve(|_, stream| echo(stream));
    for reconnect in [None, Some(Close::Finish)] {
        let timeout = Duration::from_millis(500);
        let report = run(&Plan { reconnect, timeout, ..plan(&[address, server]) });
        assert_eq!(
            (report.failures, report.load.target.clone()),
            (Failures::default(), server.to_string()),
            "{report}"
        );
    }
}

#[test]
fn an_error_names_every_address_that_was_tried() {
    for reconnect in [None, Some(Close::Finish)] {
        // With a connection for each message, the run does not wait for the end of its window.
        let length = Length::Time(Duration::from_secs(3600));
        let error = refused(&Plan { reconnect, length, ..plan(&nobody()) });
        for target in nobody() {
            assert!(error.contains(&format!("{target} (Connection refused")), "{error}");
        }
        assert!(error.contains("is a server listening there?"), "{error}");
    }
}
