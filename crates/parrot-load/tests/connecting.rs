//! Which address the load connects to, and what it says when it cannot connect.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parrot_load::{Close, Failures, Length, Pace, Plan, Report, Stop, Target};
use parrot_testkit::PATIENCE;
use parrot_testkit::network::{PAIR, alone, number_of};
use parrot_testkit::program::{Ended, run as run_program};
use parrot_testkit::scripted::{echo, serve, serve_at};

/// Addresses at which nobody listens. These ports belong to services that no machine runs any more.
fn nobody() -> [SocketAddr; 2] {
    [1, 11].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// How the program ends with these arguments and four connections that send 100 messages.
fn load(arguments: &[&str]) -> Ended {
    let mut program = Command::new(env!("CARGO_BIN_EXE_parrot-load"));
    run_program(program.args(["-c", "4", "-n", "100", "--warmup", "0s", "--quiet"]).args(arguments))
}

/// A short closed loop of four connections to a server with these addresses.
fn plan(targets: &[SocketAddr]) -> Plan {
    Plan {
        targets: targets.iter().copied().map(Target::from).collect(),
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
    for reconnect in [None, Some(Close::Finish.after(1)), Some(Close::Reset.after(1))] {
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
    for reconnect in [None, Some(Close::Finish.after(1))] {
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
    for reconnect in [None, Some(Close::Finish.after(1))] {
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
    Plan { reconnect: Some(Close::Finish.after(1)), length: Length::Messages(110), ..plan(targets) }
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
        let report =
            run(&Plan { sources: vec![source], reconnect: Some(Close::Reset.after(1)), ..taking_ports(&[server]) });
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
            ("192.0.2.9:7", Some(loopback), "Invalid argument", "from 127.0.0.1 to 192.0.2.9: leave out --source"),
            ("[::1]:7", None, "Cannot assign requested address", "no IPv6 address"),
        ] {
            let error = refused(&Plan { sources: source.into_iter().collect(), ..plan(&[target.parse().unwrap()]) });
            assert!(error.contains(system) && error.contains(advice), "{error}");
            assert!(!error.contains("is a server listening"), "{error}");
        }
    });
}

#[test]
fn an_address_may_have_a_zone_by_name_or_number() {
    alone(&PAIR, || {
        // The server is reached through one of the interfaces only.
        let scope = number_of("here");
        let listener =
            TcpListener::bind(std::net::SocketAddrV6::new("fe80::7".parse().unwrap(), 1512, 0, scope)).unwrap();
        std::thread::spawn(move || serve_at(&listener, |_, stream| echo(stream)));
        for target in ["[fe80::7%here]:1512", &format!("[fe80::7%{scope}]:1512"), "[fe80::7%25here]:1512"] {
            for source in [&[][..], &["--source", "fe80::7%here"], &["--source", &format!("[fe80::7%{scope}]")]] {
                let ended = load(&[&[target], source].concat());
                assert_eq!(ended.code, Some(0), "{target} {source:?}: {ended:?}");
                assert!(ended.stdout.contains(&format!("to [fe80::7%{scope}]:1512")), "{ended:?}");
            }
        }
        let ended = load(&["[fe80::7%here]:1512", "--source", "fe80::7%there"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(&format!("to fe80::7%{scope}: leave out --source")), "{ended:?}");
        let ended = load(&["[fe80::7%there]:1512"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("is a server listening there?"), "{ended:?}");
    });
}

#[test]
fn a_zone_that_is_not_there_may_come_later() {
    for target in
        ["[fe80::1%nowhere]:1", "[fe80::1%4294967295]:1", "[fe80::1%4294967296]:1", "[fe80::1%25]:1", "[::1%no]:1"]
    {
        for ended in [load(&[target]), load(&["[::1]:1", "--source", target.trim_end_matches(":1")])] {
            assert_eq!(ended.code, Some(1), "{target}: {ended:?}");
            assert!(ended.stderr.contains("no interface"), "{target}: {ended:?}");
        }
    }
}

#[test]
fn a_zone_of_an_address_without_zones_is_left_out() {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        return eprintln!("SKIPPED: no IPv6 on this machine");
    };
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || serve_at(&listener, |_, stream| echo(stream)));
    // The number of loopback is 1 on Linux and most other systems.
    for zone in ["1", "0"].into_iter().chain(cfg!(target_os = "linux").then_some("lo")) {
        let ended = load(&[&format!("[::1%{zone}]:{port}"), "--source", &format!("::1%{zone}")]);
        assert_eq!(ended.code, Some(0), "{zone}: {ended:?}");
        assert!(ended.stdout.contains(&format!("to [::1]:{port}, ")), "{zone}: {ended:?}");
    }
}

#[test]
fn a_name_that_does_not_resolve_just_now_is_no_wrong_usage() {
    // A network of its own has no name server, so the answer comes at once.
    alone(&[], || {
        let ended = load(&["parrot.example:1512"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("the name parrot.example could not be resolved"), "{ended:?}");
        assert!(!ended.stderr.contains("Usage") && !ended.stderr.contains("lookup"), "{ended:?}");
    });
}

/// The program with these arguments, where `/etc/hosts` has these lines.
fn load_with_hosts(hosts: &str, arguments: &[&str]) -> Ended {
    let script = r#"mount --bind "$1" /etc/hosts && shift && exec "$@""#;
    let file = format!("{}/hosts.{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    std::fs::write(&file, hosts).unwrap();
    let mut program = Command::new("unshare");
    program.args(["--mount", "sh", "-c", script, "sh", &file, env!("CARGO_BIN_EXE_parrot-load")]);
    run_program(program.args(["-c", "4", "-n", "100", "--warmup", "0s", "--quiet"]).args(arguments))
}

#[test]
fn a_name_with_several_addresses_is_tried_until_one_connects() {
    alone(&[], || {
        let hosts = "::1 parrot\n127.0.0.1 parrot\n127.0.0.2 parrot\n";
        let server = serve(|_, stream| echo(stream)); // on 127.0.0.1 only
        let target = format!("parrot:{}", server.port());
        for arguments in [&[&*target][..], &[&*target, "-k", "false"], &[&*target, "--source", "127.0.0.9"]] {
            let ended = load_with_hosts(hosts, arguments);
            assert_eq!(ended.code, Some(0), "{ended:?}");
            assert!(ended.stdout.contains(&format!("to {server}")), "{ended:?}");
        }
        let ended = load_with_hosts(hosts, &["parrot:1"]);
        assert_eq!(ended.code, Some(1));
        for tried in ["[::1]:1 (", "127.0.0.1:1 (", "127.0.0.2:1 ("] {
            assert!(ended.stderr.contains(tried), "{ended:?}");
        }
        let ended = load_with_hosts("127.0.0.1 parrot\n", &["parrot:1", "--source", "::1"]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains("parrot has no IPv6 address"), "{ended:?}");
    });
}
