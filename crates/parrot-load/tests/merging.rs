//! Reports of several hosts added up, and hosts that begin together.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use parrot_load::{Length, Pace, Plan, Report, Sample, Stop, Watch};
use parrot_testkit::program::{Ended, run};
use parrot_testkit::schema::Schema;
use parrot_testkit::scripted::{echo, reply, reporting, serve};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_parrot-load"))
}

/// The report of a small open loop.
fn measured(port: u16, size: usize) -> Report {
    let plan = Plan {
        connections: 2,
        size,
        pace: Pace::Rate(1000.0),
        warmup: Duration::ZERO,
        length: Length::Messages(100),
        ..Plan::new(std::net::SocketAddr::from(([127, 0, 0, 1], port)))
    };
    parrot_load::run(&plan, &Stop::default(), &mut ()).unwrap()
}

/// The report as if its window had opened at this time.
fn at(opened_at: f64, report: &Report) -> Report {
    let mut report = report.clone();
    report.opened_at = opened_at;
    report
}

fn written(directory: &TempDir, name: &str, report: &Report) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, serde_json::to_string_pretty(report).unwrap()).unwrap();
    path
}

fn merge(arguments: &[&str], files: &[&Path]) -> Ended {
    run(program().arg("merge").args(arguments).args(files))
}

#[test]
fn percentiles_come_from_the_sum_of_histograms() {
    let directory = tempfile::tempdir().unwrap();
    // One host in four is slow. The average of the medians would be 5 ms, and that of the P90s too.
    let fast = serve(|_, stream| echo(stream)).port();
    let slow = serve(|_, stream| {
        reply(stream, |_, bytes| {
            thread::sleep(Duration::from_millis(20));
            bytes.to_vec()
        })
    });
    let (fast, mut slow) = (measured(fast, 12), measured(slow.port(), 12));
    slow.load = fast.load.clone();
    let hosts: Vec<PathBuf> = [(0, &fast), (1, &fast), (2, &fast), (3, &slow)]
        .map(|(number, report)| {
            let opened_at = fast.opened_at + f64::from(number) / 1e6;
            written(&directory, &format!("{number}.json"), &at(opened_at, report))
        })
        .into();
    let hosts: Vec<&Path> = hosts.iter().map(PathBuf::as_path).collect();
    let Ended { code, stdout, stderr } = merge(&["--json"], &hosts);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let value: Value = serde_json::from_str(&stdout).unwrap();
    Schema::new(include_str!("../../../docs/load-report.schema.json"), &[]).check(&value);
    let sum: Report = serde_json::from_value(value).unwrap();
    assert_eq!((sum.reports, sum.latency.count, sum.messages), (4, 400, 3 * fast.messages + slow.messages));
    let longest = [&fast, &slow].map(|report| report.latency.max.unwrap()).into_iter().fold(0.0, f64::max);
    assert_eq!(sum.latency.max, Some(longest));
    assert_eq!(sum.service.unwrap().count, 400);
    // The median is one of the 300 fast messages, and P90 one of the 100 slow ones.
    assert!(sum.latency.p50 <= fast.latency.max && sum.latency.p90 >= slow.service.unwrap().p50, "{sum}");
    assert!(sum.to_string().starts_with("sum of 4 reports, each open loop: 2 connections"), "{sum}");
}

#[test]
fn a_sum_in_any_order_is_the_same() {
    let port = serve(|_, stream| echo(stream)).port();
    let [one, two, three] = [0, 1, 2].map(|_| measured(port, 12));
    let merge =
        |reports: [&Report; 3]| serde_json::to_value(Report::merge(reports.map(Clone::clone)).unwrap()).unwrap();
    let (there, back) = (merge([&one, &two, &three]), merge([&three, &two, &one]));
    for field in ["histograms", "latency", "messages", "window", "failures", "opened_at", "load"] {
        assert_eq!(there[field], back[field], "{field}");
    }
}

#[test]
fn windows_that_were_not_open_together_are_named() {
    let port = serve(|_, stream| echo(stream)).port();
    let report = measured(port, 12);
    let apart = |seconds: f64| Report::merge([report.clone(), at(report.opened_at + seconds, &report)]).unwrap();
    let (together, later) = (apart(report.window * 0.05), apart(report.window * 9.0));
    assert!(!together.to_string().contains("windows apart"), "{together}");
    assert!(later.to_string().contains("windows apart"), "{later}");
    // Both windows and the time between them.
    assert!((later.window / report.window - 10.0).abs() < 1e-3, "{later}");
    assert!((later.messages_per_second * later.window - 2.0 * report.messages as f64).abs() < 1e-3, "{later}");
}

#[test]
fn reports_of_other_loads_and_other_files_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let port = serve(|_, stream| echo(stream)).port();
    let [small, large] = [12, 64].map(|size| written(&directory, &format!("{size}.json"), &measured(port, size)));
    let old = directory.path().join("old.json");
    std::fs::write(&old, r#"{"schema": "parrot-load/1"}"#).unwrap();
    let other = directory.path().join("other.json");
    std::fs::write(&other, r#"{"start": {}}"#).unwrap();
    let missing = directory.path().join("missing.json");
    let text = std::fs::read_to_string(&small).unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let empty = file("empty.json", "");
    let cut = file("cut.json", &text[..text.len() / 2]);
    let mixed = file("mixed.json", &format!("{text}\nparrot-load: cannot connect\n"));
    let copy = file("copy.json", &text);
    for (second, words) in [
        (&large, "size is 12 in"),
        (&old, "parrot-load/1"),
        (&other, "other.json is not a report"),
        (&missing, "cannot read"),
        (&empty, "empty.json has no report, so the run"),
        (&cut, "the last one is cut off"),
        (&mixed, r#"is "parrot-load: cannot connect""#),
        (&copy, "copy.json are the same report"),
    ] {
        let Ended { code, stdout, stderr } = merge(&[], &[&small, second]);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
        assert!(stderr.contains(words) && stderr.lines().count() == 1, "{words}: {stderr}");
    }
    assert_eq!(merge(&[], &[]).code, Some(2), "a merge needs reports");
}

#[test]
fn a_sum_has_a_percentile_distribution_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let port = serve(|_, stream| echo(stream)).port();
    let [one, other] = [1, 2].map(|number| written(&directory, &format!("{number}.json"), &measured(port, 12)));
    let file = directory.path().join("sum.hgrm");
    let ended = merge(&["--hdr", file.to_str().unwrap()], &[&one, &other]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(std::fs::read_to_string(file).unwrap().contains("Total count    =          200"));
}

#[test]
fn reports_may_come_one_after_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let port = serve(|_, stream| echo(stream)).port();
    let report = measured(port, 12);
    let host = |number: u32| at(report.opened_at + f64::from(number) / 1e6, &report);
    let all: Vec<String> = (0..100).map(|number| serde_json::to_string(&host(number)).unwrap()).collect();
    let path = directory.path().join("all.json");
    std::fs::write(&path, all.join("\n")).unwrap();
    let input = std::fs::File::open(&path).unwrap();
    let sum = run(program().args(["merge", "-", "--json"]).stdin(input));
    assert_eq!(sum.code, Some(0), "{}", sum.stderr);
    let sum: Report = serde_json::from_str(&sum.stdout).unwrap();
    assert_eq!((sum.reports, sum.latency.count), (100, 10_000));

    let large = serde_json::to_string(&measured(port, 64)).unwrap();
    std::fs::write(&path, [all[0].as_str(), &large, &all[1]].join("\n")).unwrap();
    let Ended { code, stderr, .. } = merge(&[], &[&path]);
    let words = format!("size is 12 in report 1 of {0} but 64 in report 2 of {0}", path.display());
    assert!(code == Some(1) && stderr.contains(&words), "{stderr}");
}

#[test]
fn a_run_that_was_interrupted_is_named_in_the_sum() {
    let plan = Plan {
        connections: 2,
        warmup: Duration::ZERO,
        length: Length::Time(Duration::from_secs(1)),
        interval: Some(Duration::from_millis(20)),
        ..Plan::new(serve(|_, stream| echo(stream)))
    };
    let stop = Stop::default();
    let (whole, stopped) = thread::scope(|scope| {
        let stopped = scope.spawn(|| parrot_load::run(&plan, &stop, &mut Stopping(&stop)).unwrap());
        (parrot_load::run(&plan, &Stop::default(), &mut ()).unwrap(), stopped.join().unwrap())
    });
    let messages = whole.messages + stopped.messages;
    let sum = Report::merge([whole, stopped]).unwrap();
    assert_eq!((sum.reports, sum.messages), (2, messages));
    assert!(sum.to_string().contains("stopped early") && sum.to_string().contains("windows apart"), "{sum}");
}

/// Stops the run once something was measured.
struct Stopping<'a>(&'a Stop);

impl Watch for Stopping<'_> {
    fn interval(&mut self, sample: &Sample) {
        if sample.latency.count > 0 {
            self.0.stop();
        }
    }
}

#[test]
fn hosts_begin_at_the_same_time() {
    let port = serve(|_, stream| echo(stream)).port().to_string();
    let begin = jiff::Timestamp::now() + Duration::from_secs(2);
    let time = begin.to_string();
    let start = |_| {
        let arguments = ["-c", "1", "--start-at", &time, "--warmup", "0s", "-n", "10", "--json", &port];
        program().args(arguments).stdout(Stdio::piped()).spawn().unwrap()
    };
    let hosts: Vec<_> = (0..2).map(start).collect();
    for host in hosts {
        let report: Report = serde_json::from_slice(&host.wait_with_output().unwrap().stdout).unwrap();
        let late = report.opened_at - begin.as_duration().as_secs_f64();
        assert!((0.0..1.0).contains(&late), "{late} s after the time\n{report}");
    }
}

#[test]
fn a_time_that_cannot_be_kept_is_refused() {
    for (time, words) in [("2000-01-01T00:00:00Z", "has passed"), ("noon", "such as 2026"), ("12:00", "such as 2026")] {
        let Ended { code, stderr, .. } = run(program().args(["--start-at", time]));
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
}

#[test]
fn waiting_for_the_time_can_be_interrupted() {
    let (address, _receives) = reporting();
    let mut load = program()
        .args(["-c", "1", "--start-at", "9000-01-01T00:00:00Z", "-i", "1h", &address.port().to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(load.stderr.take().unwrap());
    let mut line = String::new();
    for _ in 0..2 {
        std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
    }
    assert!(line.contains("1 connections open") && line.ends_with("waiting until 9000-01-01T00:00:00Z\n"), "{line}");
    kill_process(Pid::from_child(&load), Signal::INT).unwrap();
    assert_eq!(load.wait().unwrap().code(), Some(130), "{line}");
}
