//! Where faults are named and counted: the start line, the log, the statistics and the metrics.

use std::fs;

use parrot_testkit::client::echo;
use parrot_testkit::wait_until;

#[cfg(feature = "admin")]
use crate::support::bare_parrot;
use crate::support::{parrot, scratch, spawn, start};

#[test]
fn the_start_line_has_the_seed() {
    let server = start(&["--fault", "slice=1", "--seed", "42"]);
    assert!(server.stderr().contains(", with the faults of --seed 42)\n"), "{}", server.stderr());
    server.stop().unwrap();
    let server = start(&["--fault", "slice=1"]);
    let stderr = server.stderr();
    let (_, seed) = stderr.split_once("with the faults of --seed ").unwrap();
    let (seed, _) = seed.split_once(')').unwrap();
    assert!(seed.parse::<u64>().is_ok(), "{stderr}");
    server.stop().unwrap();
    let server = start(&[]);
    assert!(!server.stderr().contains("seed"), "{}", server.stderr());
}

#[test]
fn the_log_names_the_faults_of_a_connection() {
    for (format, end) in [("clf", " 6 \"latency,slice\"\n"), ("json", ",\"bytes\":6,\"faults\":\"latency,slice\"}\n")] {
        let path = scratch("faults.log");
        let faults = ["--fault", "latency=1ms", "--fault", "slice=3", "--log", format];
        let server = spawn(parrot(&faults).arg("--log-file").arg(&path));
        echo(&server.connect(), b"squawk");
        let read = || fs::read_to_string(&path).unwrap_or_default();
        wait_until("the line is written", || read().ends_with('\n'));
        assert!(read().ends_with(end), "{}", read());
        server.stop().unwrap();
    }
}

#[test]
fn the_statistics_count_faults_and_ends_by_kind() {
    let server = start(&["--fault", "limit-data=6", "--fault", "latency=1ms"]);
    for _ in 0..3 {
        echo(&server.connect(), b"squawk");
    }
    let summary = server.stop().unwrap();
    for words in ["; 3 limit data fault", "; 3 with fault latency", "; 3 with fault limit-data"] {
        assert!(summary.contains(words), "no {words:?} in {summary}");
    }
}

#[cfg(feature = "admin")]
#[test]
fn the_metrics_count_faults_by_kind() {
    use parrot_testkit::client::free_port;
    use parrot_testkit::http;
    let place = format!("127.0.0.1:{}", free_port().unwrap());
    let server = start(&["--fault", "latency=1ms", "--admin", &place]);
    echo(&server.connect(), b"squawk");
    let metrics = http::get(place.parse().unwrap(), "/metrics").unwrap().body;
    for line in ["parrot_faults_total{kind=\"latency\"} 1\n", "parrot_faults_total{kind=\"reset\"} 0\n"] {
        assert!(metrics.contains(line), "no {line:?} in {metrics}");
    }
}

#[cfg(feature = "admin")]
#[test]
fn the_pages_show_the_faults_of_a_single_listener() {
    use parrot_testkit::http;
    let place = ["--listen", "tcp:127.0.0.1:0,fault=limit-data=5", "--seed", "7", "--admin", "127.0.0.1:0"];
    let server = spawn(bare_parrot(&place).args(["--log", "off"]));
    let body = http::get(server.pages().unwrap(), "/statistics").unwrap().body;
    let settings = &serde_json::from_str::<serde_json::Value>(&body).unwrap()["settings"];
    assert_eq!((&settings["fault"], &settings["seed"]), (&"limit-data=5 on tcp:127.0.0.1:0".into(), &"7".into()));
    server.stop().unwrap();
}
