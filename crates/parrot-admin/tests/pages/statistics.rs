//! The numbers as JSON, and whether they have the form that is documented.

use parrot_server::Listen;
use parrot_testkit::client::echo;
use parrot_testkit::schema::Schema;
use parrot_testkit::wait_until;
use serde_json::Value;

use crate::support::{LOOPBACK, Watched};

fn statistics(watched: &Watched, query: &str) -> Value {
    let response = watched.get(&format!("/statistics{query}"));
    assert_eq!(response.header("content-type"), Some("application/json"));
    serde_json::from_str(&response.body).unwrap()
}

#[test]
fn the_statistics_have_the_documented_form() {
    let schema = Schema::new(include_str!("../../../../docs/statistics.schema.json"), &["history", "faults"]);
    let listen = vec![Listen::tcp(LOOPBACK).named("web"), Listen::udp(LOOPBACK)];
    let watched = Watched::listening_on(listen, |server| server.run());
    echo(&watched.connect(), b"squawk");
    schema.check(&statistics(&watched, ""));
    wait_until("a sample was taken", || statistics(&watched, "?history")["history"]["next"] != 0);
    let with_history = statistics(&watched, "?history");
    assert!(with_history["history"].is_object());
    schema.check(&with_history);
    watched.stop();
}

#[test]
fn the_statistics_count_what_happened() {
    let watched = Watched::listening_on(vec![Listen::tcp(LOOPBACK).named("web")], |server| server.run());
    let client = watched.connect();
    echo(&client, b"squawk");
    let statistics = statistics(&watched, "");
    assert_eq!((statistics["stage"].as_str(), statistics["messages"].as_u64()), (Some("serving"), Some(1)));
    assert_eq!((&statistics["connections"]["open"], &statistics["received_bytes"]), (&1.into(), &6.into()));
    let listener = &statistics["listeners"][0];
    assert_eq!((listener["name"].as_str(), listener["accepted"].as_u64()), (Some("web"), Some(1)));
    assert_eq!(listener["address"], watched.echo.to_string());
    assert_eq!(statistics["settings"]["drain-timeout"], "5s");
    assert_eq!(statistics["server"]["pid"], std::process::id());
    let turns = &statistics["turn_seconds"];
    let all = turns["buckets"].as_array().unwrap().last().unwrap();
    assert_eq!((&all["le"], &all["count"]), (&Value::Null, &turns["count"]));
    drop(client);
    watched.stop();
}

#[test]
fn the_history_goes_on_from_a_sample() {
    let watched = Watched::start();
    let history = |from: u64| statistics(&watched, &format!("?history={from}"))["history"].clone();
    wait_until("three samples were taken", || history(0)["next"].as_u64() >= Some(3));
    echo(&watched.connect(), b"squawk");
    let next = history(0)["next"].as_u64().unwrap();
    wait_until("another one was taken", || history(0)["next"].as_u64() > Some(next));
    let newer = history(next);
    assert_eq!(newer["first"], next);
    let messages = newer["messages_per_second"].as_array().unwrap();
    assert!(messages.iter().any(|rate| rate.as_f64() > Some(0.0)), "{newer}");
    // With another number than there are, as after a restart, all come.
    assert_eq!(history(1_000_000)["first"], 0);
    watched.stop();
}

#[test]
fn an_unknown_query_of_the_statistics_is_refused() {
    let watched = Watched::start();
    for query in ["?historyxyz", "?history=", "?history=-1", "?history=x", "?histroy", "?history&history=1"] {
        let response = watched.get(&format!("/statistics{query}"));
        assert_eq!(response.status, 400, "{query}: {response:?}");
        assert!(response.body.contains("?history=NUMBER"), "{query}: {response:?}");
    }
    watched.stop();
}
