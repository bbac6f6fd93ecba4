//! The search for the highest rate that holds an objective, with servers and clients whose limits are known.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use parrot_testkit::program::{Ended, run};
use parrot_testkit::schema::Schema;
use parrot_testkit::scripted::serve;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A single thread that serves one connection after the other and takes `each` for every message of 12 bytes.
///
/// It makes up for the time in which it could not run or had nothing to do. So a pause of this thread or of the client
/// delays only the messages that are due in it, and a rate below the limit has no queue, whatever else the machine does.
fn capable_of_one_every(each: Duration) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            let (mut message, mut served_at) = ([0; 12], None);
            while stream.read_exact(&mut message).is_ok() {
                let at = served_at.map_or_else(Instant::now, |before| before + each);
                thread::sleep(at.saturating_duration_since(Instant::now()));
                served_at = Some(at);
                if stream.write_all(&message).is_err() {
                    break;
                }
            }
        }
    });
    address
}

/// The program, as a search with one connection and short steps. Rates are low, so that tests leave each other room.
fn program(server: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parrot-load"));
    command.args(["-c", "1", "--pipeline", "1000", "-r", "300", "-d", "600ms", "--warmup", "100ms", "--find-rate"]);
    command.args(arguments).arg(server.port().to_string());
    command
}

#[test]
fn the_limit_of_a_known_server_is_found_within_5_percent() {
    let directory = tempfile::tempdir().unwrap();
    let chart = directory.path().join("search.svg");
    let server = capable_of_one_every(Duration::from_millis(2));
    // At a rate that is 2.3 % too high, the queue is longer than that for half of the step.
    let objectives = ["--objective", "p50=9ms", "--objective", "errors=50%"];
    let mut search = program(server, &objectives);
    let Ended { code, stdout, stderr } = run(search.args(["--json", "--chart"]).arg(&chart));
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let found: Value = serde_json::from_str(&stdout).unwrap();
    Schema::new(include_str!("../../../docs/load-search.schema.json"), &[]).check(&found);
    assert_eq!(found["objectives"], serde_json::json!(["p50=9ms", "errors=50%"]));
    assert_eq!((&found["confirmed"], &found["limit"]), (&Value::from(true), &Value::from("server")), "{found}");
    let [held, failed] = ["rate", "failed"].map(|end| found[end].as_f64().unwrap());
    assert!((held / 500.0 - 1.0).abs() < 0.05, "{held} where the server is capable of 500: {found}");
    assert!(held < failed && failed < held * 1.021, "{found}");
    let step = |rate: f64| found["steps"].as_array().unwrap().iter().filter(move |step| step["rate"] == rate);
    assert!(step(held).count() >= 3 && step(failed).count() >= 3, "both ends were measured again: {found}");
    let chart = std::fs::read_to_string(chart).unwrap();
    assert!(
        chart.starts_with("<svg ") && chart.contains("\nP99.9\n") && chart.contains("messages per second"),
        "{chart}"
    );
}

/// A server that answers at once and keeps the program that is its client from sending more than one message `each`.
///
/// It stops the program with SIGSTOP for as long as that is ahead of its time, as a quota of CPU time would. That begins
/// with a message that no others came with, so that the answers to those before it have been received.
fn that_slows_its_client(each: Duration, client: Receiver<Pid>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let client = client.recv().unwrap();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            let (mut message, mut received) = ([0; 12], Instant::now());
            let mut on_time = received;
            while stream.read_exact(&mut message).is_ok() {
                let ahead = on_time.saturating_duration_since(Instant::now());
                if received.elapsed() > each / 4 && ahead > each * 4 {
                    kill_process(client, Signal::STOP).unwrap();
                    thread::sleep(ahead);
                    kill_process(client, Signal::CONT).unwrap();
                }
                received = Instant::now();
                on_time += each;
                if stream.write_all(&message).is_err() {
                    break;
                }
            }
        }
    });
    address
}

#[test]
fn a_client_that_gives_out_first_is_named() {
    let mut others = Vec::new();
    // On a busy machine the server can be the slower one, and the search is right to name it.
    for _ in 0..3 {
        let (sender, client) = mpsc::channel();
        let server = that_slows_its_client(Duration::from_millis(2), client);
        let short = ["-d", "300ms", "--warmup", "50ms", "--objective", "p50=9ms"];
        let search = program(server, &short).stdout(Stdio::piped()).spawn().unwrap();
        sender.send(Pid::from_child(&search)).unwrap();
        let Ended { code, stdout, .. } = search.wait_with_output().unwrap().into();
        assert_eq!(code, Some(0), "{stdout}");
        let twice_for_each_of_three = stdout.lines().filter(|line| line.ends_with("client")).count() >= 6;
        if twice_for_each_of_three && stdout.contains("  limit       the client gave out first") {
            return;
        }
        others.push(stdout);
    }
    panic!("the client gave out first: {}", others.concat());
}

#[test]
fn an_interrupted_search_prints_what_it_has_found() {
    let server = capable_of_one_every(Duration::from_millis(2));
    let mut search = program(server, &["--objective", "p50=1m"]).stdout(Stdio::piped()).spawn().unwrap();
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
        "100ms",
        &server,
    ]);
    let Ended { code, stdout, .. } = run(&mut command);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stdout.contains("held        no rate") && stdout.contains("failed      1.00 messages/s"), "{stdout}");
}
