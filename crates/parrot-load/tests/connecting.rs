//! Which address the load connects to, and what it says when it cannot connect.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parrot_load::{Close, Failures, Length, Pace, Plan, Report, Stop};
use parrot_testkit::PATIENCE;
use parrot_testkit::network::alone;
use parrot_testkit::scripted::{echo, serve, serve_at};

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

/// A load with a connection for each message, which takes the client's 100 ports.
fn taking_ports(targets: &[SocketAddr]) -> Plan {
    Plan { reconnect: Some(Close::Finish), length: Length::Messages(110), ..plan(targets) }
}

#[test]
fn ports_that_run_out_are_not_blamed_on_the_server() {
    // Without tcp_tw_reuse a port stays in TIME_WAIT for a minute, as it does between two machines.
    let few_ports =
        ["echo 20000 20099 > /proc/sys/net/ipv4/ip_local_port_range", "echo 0 > /proc/sys/net/ipv4/tcp_tw_reuse"];
    alone(&few_ports, || {
        let server = serve_at_port(60_000);
        let report = run(&taking_ports(&[server]));
        assert!(report.failures.connect > 0 && report.messages >= 90, "{report}");
        let error = refused(&taking_ports(&[server]));
        for text in [report.to_string(), error] {
            assert!(text.contains("Cannot assign requested address"), "{text}");
            assert!(text.contains("no local port is left"), "{text}");
            for help in ["--close reset", "--source", "--keep-alive true"] {
                assert!(text.contains(help), "{text}");
            }
            assert!(!text.contains("is a server listening"), "{text}");
        }
        // What was advised helps.
        let source = SocketAddr::from(([127, 0, 0, 2], 0));
        let report = run(&Plan { sources: vec![source], reconnect: Some(Close::Reset), ..taking_ports(&[server]) });
        assert_eq!((report.failures, report.messages), (Failures::default(), 110), "{report}");
        let error = refused(&Plan { reconnect: None, ..plan(&[server]) });
        assert!(error.contains("--source") && !error.contains("--close"), "nothing is closed: {error}");
    });
}

/// The address of an echo server at this port, which must be free.
fn serve_at_port(port: u16) -> SocketAddr {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || serve_at(&listener, |_, stream| echo(stream)));
    address
}

#[test]
fn an_address_without_a_way_to_it_is_not_blamed_on_the_server() {
    let routes = [
        "ip link add here type veth peer name there && ip link set here up && ip link set there up",
        "ip address add 192.0.2.1/24 dev here",
        "ip route add unreachable 198.51.100.1",
        "ip route add prohibit 198.51.100.2",
        "ip route add blackhole 198.51.100.3",
        "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6",
    ];
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    alone(&routes, || {
        for (target, source, system, advice) in [
            ("203.0.113.1:7", None, "Network is unreachable", "no way from here to 203.0.113.1"),
            ("198.51.100.1:7", None, "No route to host", "no way from here to 198.51.100.1"),
            ("198.51.100.2:7", None, "Permission denied", "forbids"),
            ("198.51.100.3:7", None, "Invalid argument", "check the route"),
            ("192.0.2.9:7", Some(loopback), "Invalid argument", "--source 127.0.0.1"),
            ("[::1]:7", None, "Cannot assign requested address", "no IPv6 address"),
        ] {
            let error = refused(&Plan { sources: source.into_iter().collect(), ..plan(&[target.parse().unwrap()]) });
            assert!(error.contains(system) && error.contains(advice), "{error}");
            assert!(!error.contains("is a server listening"), "{error}");
        }
    });
}
