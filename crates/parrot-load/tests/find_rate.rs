//! The search for the highest rate that holds an objective, against servers whose limit is known.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use parrot_load::{Found, Length, Limit, Objective, Pace, Plan, Stop};
use parrot_testkit::program::{Ended, run};
use parrot_testkit::schema::Schema;
use parrot_testkit::scripted::serve;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A single thread that serves one connection after the other and takes `each` for every message of 12 bytes.
///
/// A message is served `each` after the one before it. If this thread wakes late from a sleep, it makes up for that, so
/// its capacity does not depend on what else runs on the machine.
fn capable_of_one_every(each: Duration) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            let (mut buffer, mut filled, mut free_at) = (vec![0; 12 << 10], 0, Instant::now());
            loop {
                let waited = Instant::now();
                match stream.read(&mut buffer[filled..]) {
                    Ok(count) if count > 0 => filled += count,
                    _ => break,
                }
                // What had to be waited for was not there before now.
                if waited.elapsed() > each / 2 {
                    free_at = free_at.max(Instant::now());
                }
                while filled >= 12 {
                    free_at += each;
                    thread::sleep(free_at.saturating_duration_since(Instant::now()));
                    if stream.write_all(&buffer[..12]).is_err() {
                        break;
                    }
                    buffer.copy_within(12..filled, 0);
                    filled -= 12;
                }
            }
        }
    });
    address
}

/// The program, as a search on a server that is capable of 2,000 messages a second.
fn program(arguments: &[&str]) -> Command {
    let server = capable_of_one_every(Duration::from_micros(500)).port().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_parrot-load"));
    command.args(["-c", "1", "--pipeline", "1000", "-r", "1500", "--warmup", "100ms", "--find-rate", &server]);
    command.args(arguments);
    command
}

/// A plan whose steps are short, with one connection that may have many messages under way.
fn plan(address: SocketAddr) -> Plan {
    Plan {
        connections: 1,
        pipeline: 1000,
        pace: Pace::Rate(900.0),
        warmup: Duration::from_millis(200),
        length: Length::Time(Duration::from_millis(1200)),
        ..Plan::new(address)
    }
}

fn p90(milliseconds: u64) -> Objective {
    Objective::Percentile { percentile: 90.0, at_most: Duration::from_millis(milliseconds) }
}

fn find(plan: &Plan, objectives: &[Objective]) -> Found {
    let mut rows = Vec::new();
    let found = parrot_load::find_rate(plan, objectives, &Stop::default(), &mut (), &mut |step| {
        rows.push(step.to_string());
    });
    let found = found.unwrap();
    eprintln!("{}\n{found}", rows.join("\n"));
    found
}

#[test]
fn the_limit_of_a_known_server_is_found_within_5_percent() {
    let found = find(&plan(capable_of_one_every(Duration::from_micros(625))), &[p90(25)]);
    assert!(found.confirmed && found.limit == Limit::Server, "{found}");
    let rate = found.rate.unwrap();
    assert!((rate / 1600.0 - 1.0).abs() < 0.05, "{rate} where the server is capable of 1,600\n{found}");
    assert!(found.failed.unwrap() <= rate * 1.021, "{found}");
}

#[test]
fn a_search_as_json_has_its_form_and_a_chart() {
    let directory = tempfile::tempdir().unwrap();
    let chart = directory.path().join("search.svg");
    let objectives = ["--objective", "p50=20ms", "--objective", "errors=1%"];
    let mut search = program(&objectives);
    let Ended { code, stdout, stderr } = run(search.args(["-d", "400ms", "--json", "--chart"]).arg(&chart));
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let found: Value = serde_json::from_str(&stdout).unwrap();
    Schema::new(include_str!("../../../docs/load-search.schema.json"), &[]).check(&found);
    assert_eq!(found["objectives"], serde_json::json!(["p50=20ms", "errors=1%"]));
    let [held, failed] = ["rate", "failed"].map(|end| found[end].as_f64().unwrap());
    assert!(held < failed && failed < held * 1.021, "{found}");
    let step = |rate: f64| found["steps"].as_array().unwrap().iter().filter(move |step| step["rate"] == rate);
    assert!(step(held).count() >= 3 && step(failed).count() >= 3, "both ends were measured again: {found}");
    let chart = std::fs::read_to_string(chart).unwrap();
    assert!(
        chart.starts_with("<svg ") && chart.contains("\nP99.9\n") && chart.contains("messages per second"),
        "{chart}"
    );
}

#[test]
fn an_interrupted_search_prints_what_it_has_found() {
    let mut search = program(&["--objective", "p50=1m", "-d", "300ms"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(search.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().contains("P99.9"), "the headings");
    assert!(lines.next().unwrap().ends_with("holds"), "the first step");
    kill_process(Pid::from_child(&search), Signal::INT).unwrap();
    let rest: Vec<String> = lines.collect();
    assert_eq!(search.wait().unwrap().code(), Some(130), "{rest:?}");
    let held = rest.iter().find(|line| line.starts_with("  held")).unwrap();
    assert!(held.contains("messages/s, not confirmed"), "{rest:?}");
    assert!(rest.last().unwrap().contains("stopped early"), "{rest:?}");
}

#[test]
fn a_rate_that_no_server_holds_fails_the_search() {
    // It closes every connection. The lowest rate is a message a second, so that is where the search begins.
    let server = serve(|_, _| Ok(())).port().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_parrot-load"));
    command.args([
        "--find-rate",
        "--objective",
        "errors=0%",
        "-r",
        "1",
        "-c",
        "1",
        "--warmup",
        "0s",
        "-d",
        "2s",
        &server,
    ]);
    let Ended { code, stdout, .. } = run(&mut command);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stdout.contains("held        no rate") && stdout.contains("failed      1.00 messages/s"), "{stdout}");
}
