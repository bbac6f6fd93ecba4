//! Prometheus and its tool read the metrics.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use parrot_testkit::client::{echo, free_port};
use parrot_testkit::http::get;
use parrot_testkit::process::Process;
use parrot_testkit::wait_until;

use crate::support::{scratch, skip, start};

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let parrot = start(&["--admin", "127.0.0.1:0", "--log", "json", "--idle-timeout", "1h"]);
    echo(&parrot.connect(), b"squawk");
    let metrics = get(parrot.pages().unwrap(), "/metrics").unwrap().body;
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = promtool.spawn() else { return skip("promtool is not installed") };
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && printed.is_empty(), "{printed}\nabout\n{metrics}");
    parrot.stop().unwrap();
}

/// The values that Prometheus has for a query.
fn values(port: u16, query: &str) -> Vec<String> {
    let Ok(response) = get(([127, 0, 0, 1], port).into(), &format!("/api/v1/query?query={query}")) else {
        return Vec::new();
    };
    let Ok(json) = serde_json::from_str::<serde_json::Value>(&response.body) else { return Vec::new() };
    let results = json["data"]["result"].as_array().cloned().unwrap_or_default();
    results.iter().map(|result| result["value"][1].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn prometheus_scrapes_the_metrics() {
    let parrot = start(&["--admin", "127.0.0.1:0"]);
    let directory = scratch("prometheus");
    fs::create_dir_all(&directory).unwrap();
    let configuration = directory.join("prometheus.yml");
    let target = parrot.pages().unwrap();
    let text = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: parrot\n  static_configs:\n  - targets: ['{target}']\n"
    );
    fs::write(&configuration, text).unwrap();
    let port = free_port().unwrap();
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", configuration.display()));
    command.arg(format!("--storage.tsdb.path={}", directory.join("data").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let Ok(prometheus) = Process::spawn(&mut command) else { return skip("prometheus is not installed") };
    echo(&parrot.connect(), b"squawk");
    wait_until("Prometheus has the message", || values(port, "parrot_messages_total") == ["1"]);
    assert_eq!(values(port, "up"), ["1"]);
    assert_eq!(values(port, "parrot_build_info").len(), 1);
    let turns = values(port, "parrot_turn_duration_seconds_count");
    assert!(turns.len() == 1 && turns != ["0"], "{turns:?}");
    assert_eq!(values(port, "parrot_connections_accepted_total{transport=%22tcp%22}"), ["1"]);
    drop(prometheus);
    fs::remove_dir_all(&directory).unwrap();
    parrot.stop().unwrap();
}

/// Where the alerts are.
fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/prometheus")
}

#[test]
fn each_alert_fires_in_its_trouble_alone() {
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let Ok(output) = Command::new("promtool").args(arguments).current_dir(rules()).output() else {
            return skip("promtool is not installed");
        };
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn the_alerts_ask_for_metrics_that_there_are() {
    let parrot = start(&["--admin", "127.0.0.1:0", "--log", "json"]);
    let metrics = get(parrot.pages().unwrap(), "/metrics").unwrap().body;
    let alerts = fs::read_to_string(rules().join("alerts.yml")).unwrap();
    let words = alerts.split(|c: char| c != '_' && !c.is_ascii_alphanumeric());
    let used: Vec<&str> = words.filter(|word| word.starts_with("parrot_")).collect();
    assert!(used.len() >= 7, "{used:?}");
    for name in used {
        assert!(metrics.contains(&format!("\n{name}")), "no metric {name}");
    }
    parrot.stop().unwrap();
}
