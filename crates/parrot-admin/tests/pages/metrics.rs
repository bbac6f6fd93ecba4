//! The metrics, in both formats.

use parrot_server::Listen;
use parrot_testkit::client::echo;
use parrot_testkit::http::request;
use parrot_testkit::{client, wait_until};

use crate::support::{LOOPBACK, Watched};

/// Every metric that a server with a log has on every system.
const NAMES: &[(&str, &str)] = &[
    ("parrot_connections", "gauge"),
    ("parrot_connections_accepted_total", "counter"),
    ("parrot_connections_closed_total", "counter"),
    ("parrot_connections_rejected_total", "counter"),
    ("parrot_faults_total", "counter"),
    ("parrot_accept_pauses_total", "counter"),
    ("parrot_messages_total", "counter"),
    ("parrot_received_bytes_total", "counter"),
    ("parrot_sent_bytes_total", "counter"),
    ("parrot_buffered_bytes", "gauge"),
    ("parrot_buffered_limit_bytes", "gauge"),
    ("parrot_datagrams_dropped_total", "counter"),
    ("parrot_draining", "gauge"),
    ("parrot_turn_duration_seconds", "histogram"),
    ("parrot_deadline_lateness_seconds", "histogram"),
    ("parrot_log_lines_total", "counter"),
    ("parrot_log_lines_dropped_total", "counter"),
    ("parrot_build_info", "gauge"),
];

/// The value of the sample with this name and these labels.
fn value(metrics: &str, sample: &str) -> f64 {
    let value = metrics.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {sample} in:\n{metrics}")).parse().unwrap()
}

#[test]
fn the_metrics_are_those_that_are_documented() {
    let watched = Watched::start();
    let metrics = watched.get("/metrics").body;
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let ours: Vec<(&str, &str)> = types.filter(|(name, _)| !name.starts_with("process_")).collect();
    assert_eq!(ours, NAMES);
    let documentation = include_str!("../../../../docs/operating.md");
    for (name, _) in NAMES {
        assert!(metrics.contains(&format!("# HELP {name} ")), "{name} has no help");
        assert!(documentation.contains(&format!("`{name}")), "docs/operating.md does not have {name}");
    }
    watched.stop();
}

#[test]
fn the_metrics_count_what_happened() {
    let listen = vec![Listen::tcp(LOOPBACK).named("a \"quoted\" \\ name"), Listen::tcp(LOOPBACK)];
    let watched = Watched::listening_on(listen, |server| server.run());
    echo(&watched.connect(), b"squawk");
    wait_until("the connection has ended", || watched.handle.statistics().connections == 0);
    let metrics = watched.get("/metrics").body;
    for (sample, expected) in [
        ("parrot_connections", 0.0),
        (r#"parrot_connections_accepted_total{listener="a \"quoted\" \\ name",transport="tcp"}"#, 1.0),
        (r#"parrot_connections_closed_total{reason="peer_finished"}"#, 1.0),
        (r#"parrot_connections_closed_total{reason="idle_timeout"}"#, 0.0),
        (r#"parrot_connections_rejected_total{reason="too_many"}"#, 0.0),
        (r#"parrot_datagrams_dropped_total{reason="own_source_port"}"#, 0.0),
        ("parrot_messages_total", 1.0),
        ("parrot_received_bytes_total", 6.0),
        ("parrot_sent_bytes_total", 6.0),
        ("parrot_buffered_limit_bytes", 268_435_456.0),
        ("parrot_log_lines_total", 12.0),
        ("parrot_log_lines_dropped_total", 3.0),
        (r#"parrot_deadline_lateness_seconds_bucket{le="+Inf"}"#, 0.0),
    ] {
        assert_eq!(value(&metrics, sample), expected, "{sample}");
    }
    let turns = value(&metrics, "parrot_turn_duration_seconds_count");
    assert!(turns >= 2.0 && value(&metrics, r#"parrot_turn_duration_seconds_bucket{le="+Inf"}"#) == turns);
    assert!(value(&metrics, "parrot_turn_duration_seconds_sum") > 0.0);
    assert!(metrics.contains("parrot_build_info{version=\"1.2.3\",os="));
    assert!(value(&metrics, "process_start_time_seconds") > 1.7e9);
    let peer = watched.connect().local_addr().unwrap().to_string();
    assert!(!watched.get("/metrics").body.contains(&peer), "no metric names a peer");
    watched.stop();
}

#[test]
fn listeners_of_one_name_are_counted_together() {
    let listen = vec![Listen::tcp(LOOPBACK).named("web"), Listen::tcp(LOOPBACK).named("web")];
    let watched = Watched::listening_on(listen, |server| server.run());
    let second = watched.handle.listeners()[1].listening.address.socket_address().unwrap();
    echo(&watched.connect(), b"squawk");
    echo(&client::connect(second), b"squawk");
    let metrics = watched.get("/metrics").body;
    assert_eq!(value(&metrics, r#"parrot_connections_accepted_total{listener="web",transport="tcp"}"#), 2.0);
    watched.stop();
}

#[test]
fn each_client_gets_the_format_that_it_accepts() {
    let watched = Watched::start();
    let ask = |accept: &str| {
        let text = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n");
        request(watched.connect_to_pages(), &text).unwrap()
    };
    let text = ask("");
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(!text.body.contains("# EOF") && text.body.contains("# TYPE parrot_messages_total counter"));
    let open_metrics = ask("Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n");
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open_metrics.header("content-type"), Some(content_type));
    assert!(open_metrics.body.ends_with("\n# EOF\n") && open_metrics.body.contains("# TYPE parrot_messages counter"));
    watched.stop();
}
