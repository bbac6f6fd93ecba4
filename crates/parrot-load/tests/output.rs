//! What programs read of a load: JSON in its documented form, line by line, and CSV.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::process::Command;

use parrot_testkit::program::{Ended, run, unread_pipe};
use parrot_testkit::schema::Schema;
use parrot_testkit::scripted::{echo, serve, serve_datagrams};
use serde_json::Value;

fn echo_server() -> String {
    serve(|_, stream| echo(stream)).port().to_string()
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parrot-load"));
    command.args(["--connections", "2", "--warmup", "100ms"]).args(arguments);
    command
}

fn load(arguments: &[&str]) -> Ended {
    run(&mut program(arguments))
}

fn schema() -> Schema {
    Schema::new(include_str!("../../../docs/load-report.schema.json"), &[])
}

#[test]
fn every_kind_of_report_has_the_documented_form() {
    let datagrams = serve_datagrams(|_, datagram| vec![datagram.to_vec()]).to_string();
    let server = echo_server();
    for kind in [
        &[server.as_str(), "-n", "10"][..],
        &[&server, "-n", "10", "--rate", "1000"],
        &[&server, "--rate", "100..1000", "--over", "300ms", "--arrivals", "poisson"],
        &[&server, "--rate", "100..1000", "--over", "300ms", "--steps", "3"],
        &[&server, "-n", "10", "--keep-alive", "false", "--source", "127.0.0.1"],
        &[&server, "-n", "10", "--messages-per-connection", "3", "--connect-rate", "1000", "--size", "1..99"],
        &["-u", &datagrams, "-n", "10"],
    ] {
        let Ended { code, stdout, stderr } = load(&[kind, &["--json"]].concat());
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{kind:?}: {stdout}");
        schema().check(&serde_json::from_str(&stdout).unwrap());
    }
}

#[test]
fn a_stream_is_a_start_intervals_and_the_report() {
    let Ended { code, stdout, stderr } = load(&[&echo_server(), "-d", "500ms", "-i", "100ms", "--json-stream"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let events: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    for (kind, event) in kinds.iter().zip(&events) {
        schema().check_part(kind, event);
    }
    let (first, rest) = kinds.split_first().unwrap();
    let (last, between) = rest.split_last().unwrap();
    assert_eq!((*first, *last), ("start", "end"));
    assert!(between.len() >= 2 && between.iter().all(|kind| *kind == "interval"), "{kinds:?}");
    assert_eq!(events[0]["data"]["load"], events.last().unwrap()["data"]["load"]);
    let counted = |event: &Value| event["data"]["messages"].as_u64().unwrap();
    let in_window = |event: &&Value| event["data"]["stage"] == "window";
    assert!(events.iter().filter(in_window).map(counted).sum::<u64>() > 0, "{stdout}");
}

#[test]
fn lines_of_a_rate_in_steps_have_one_for_each() {
    let steps = ["--rate", "200..1000", "--over", "600ms", "--steps", "3", "-i", "100ms"];
    let Ended { code, stdout, stderr } = load(&[&[echo_server().as_str(), "--json-stream"][..], &steps].concat());
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let events: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).map(|event| &event["data"]).collect();
    let (steps_of_stream, intervals): (Vec<&Value>, Vec<&Value>) = (of("step"), of("interval"));
    events.iter().filter(|event| event["event"] == "step").for_each(|event| schema().check_part("step", event));
    assert_eq!(
        steps_of_stream.iter().map(|step| step["rate"].as_f64().unwrap()).collect::<Vec<_>>(),
        [200.0, 600.0, 1000.0]
    );
    assert_eq!(Value::from_iter(steps_of_stream.into_iter().cloned()), events.last().unwrap()["data"]["steps"]);
    let is_first_rate = |rate: f64| (rate - 200.0).abs() < 1e-6;
    assert!(intervals.iter().any(|interval| interval["rate"].as_f64().is_some_and(is_first_rate)), "{stdout}");

    let Ended { code, stdout, stderr } = load(&[&[echo_server().as_str(), "--csv"][..], &steps].concat());
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let rows: Vec<Vec<&str>> = stdout.lines().map(|line| line.split(',').collect()).collect();
    let rates: Vec<&str> = rows.iter().filter(|row| row[1] == "step").map(|row| *row.last().unwrap()).collect();
    assert_eq!(rates, ["200.0", "600.0", "1000.0"], "{stdout}");
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{stdout}");
}

#[test]
fn a_stream_without_a_server_ends_with_the_error() {
    let Ended { code, stdout, stderr } = load(&["1", "--json-stream"]);
    assert_eq!(code, Some(1), "{stdout}");
    let event: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    schema().check_part("error", &event);
    assert!(stderr.contains(event["data"].as_str().unwrap()), "{stderr}");
}

#[test]
fn csv_has_a_row_for_each_interval_and_the_whole() {
    let Ended { code, stdout, stderr } = load(&[&echo_server(), "-d", "500ms", "-i", "100ms", "--csv"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let rows: Vec<Vec<&str>> = stdout.lines().map(|line| line.split(',').collect()).collect();
    assert!(rows.len() >= 4 && rows.iter().all(|row| row.len() == rows[0].len()), "{stdout}");
    let column = |name: &str| rows[0].iter().position(|heading| *heading == name).unwrap();
    let total = rows.last().unwrap();
    assert_eq!((total[column("stage")], total[column("failures")]), ("total", "0"), "{stdout}");
    let number = |name: &str| total[column(name)].parse::<f64>().unwrap();
    assert!(number("messages") > 0.0 && number("p50") > 0.0 && number("p50") <= number("max"), "{stdout}");
    assert!((number("elapsed") - 0.5).abs() < 0.1, "{stdout}");
}

#[test]
fn a_reader_that_leaves_a_stream_is_no_failure() {
    for form in ["--csv", "--json-stream"] {
        let ended = run(program(&[&echo_server(), "-n", "10", form]).stdout(unread_pipe()));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{form}");
    }
}

#[test]
fn a_load_is_printed_in_one_form() {
    for forms in [["--json", "--csv"], ["--json", "--json-stream"], ["--json-stream", "--csv"]] {
        let Ended { code, stderr, .. } = load(&forms);
        assert_eq!(code, Some(2), "{forms:?}: {stderr}");
    }
}
