//! The numbers as JSON, and whether they have the form that is documented.

use parrot_server::Listen;
use parrot_testkit::client::echo;
use parrot_testkit::wait_until;
use serde_json::{Map, Value};

use crate::support::{LOOPBACK, Watched};

fn statistics(watched: &Watched, query: &str) -> Value {
    let response = watched.get(&format!("/statistics{query}"));
    assert_eq!(response.header("content-type"), Some("application/json"));
    serde_json::from_str(&response.body).unwrap()
}

/// The only field that is not always there.
const OPTIONAL: &str = "history";

/// Compares a value with a schema, which has all of its fields and requires all but one.
fn check(value: &Value, schema: &Value, whole: &Value, path: &str) {
    if let Some(reference) = schema.get("$ref") {
        let name = reference.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
        return check(value, &whole["$defs"][name], whole, path);
    }
    let types = &schema["type"];
    let is = |name: &str| types == name || types.as_array().is_some_and(|types| types.iter().any(|t| t == name));
    match value {
        Value::Null => assert!(is("null"), "{path} is null"),
        Value::Bool(_) => assert!(is("boolean"), "{path} is a boolean"),
        Value::String(_) => assert!(is("string"), "{path} is a string"),
        Value::Number(number) => assert!(is("number") || (is("integer") && number.is_u64()), "{path} is {number}"),
        Value::Array(items) => {
            assert!(is("array"), "{path} is an array");
            for (index, item) in items.iter().enumerate() {
                check(item, &schema["items"], whole, &format!("{path}[{index}]"));
            }
        }
        Value::Object(fields) => {
            assert!(is("object"), "{path} is an object");
            let empty = Map::new();
            let properties = schema["properties"].as_object().unwrap_or(&empty);
            for (name, field) in fields {
                let of = properties.get(name).or(schema.get("additionalProperties"));
                let of = of.unwrap_or_else(|| panic!("{path}.{name} is not in the schema"));
                check(field, of, whole, &format!("{path}.{name}"));
            }
            let required: Vec<&str> = schema["required"]
                .as_array()
                .map_or(Vec::new(), |names| names.iter().filter_map(Value::as_str).collect());
            let missing = required.iter().find(|name| !fields.contains_key(**name));
            assert_eq!(missing, None, "{path} lacks a field of the schema");
            let optional = properties.keys().find(|name| !required.contains(&name.as_str()) && *name != OPTIONAL);
            assert_eq!(optional, None, "the schema should require this of {path}");
        }
    }
}

#[test]
fn the_statistics_have_the_documented_form() {
    let schema: Value = serde_json::from_str(include_str!("../../../../docs/statistics.schema.json")).unwrap();
    let listen = vec![Listen::tcp(LOOPBACK).named("web"), Listen::udp(LOOPBACK)];
    let watched = Watched::listening_on(listen, |server| server.run());
    echo(&watched.connect(), b"squawk");
    check(&statistics(&watched, ""), &schema, &schema, "$");
    wait_until("a sample was taken", || statistics(&watched, "?history")["history"]["next"] != 0);
    let with_history = statistics(&watched, "?history");
    assert!(with_history[OPTIONAL].is_object());
    check(&with_history, &schema, &schema, "$");
    assert_eq!(with_history["form"], schema["properties"]["form"]["const"]);
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
