//! From an event to the exact line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::net::SocketAddr;

use parrot_checks::decoded;
use parrot_log::{Format, MAX_PAYLOAD, MESSAGE_TARGET};
use parrot_testkit::PATIENCE;
use proptest::prelude::*;
use serde_json::{Value, json};

use support::{layer, log, logging, piped, quoted, read_to_end, with_default, without_time};

/// The CLF log of what `messages` logs, with each time replaced by `time`.
fn clf(limit: usize, messages: impl FnOnce()) -> Vec<String> {
    written(Format::Clf, limit, messages).lines().map(without_time).collect()
}

fn json(limit: usize, messages: impl FnOnce()) -> Vec<Value> {
    let log = written(Format::Json, limit, messages);
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn written(format: Format, limit: usize, messages: impl FnOnce()) -> String {
    let (reader, writer) = piped(format);
    let reading = read_to_end(reader);
    with_default(&layer(&writer, limit), messages);
    let statistics = writer.close(PATIENCE);
    let log = reading.join().unwrap();
    assert!(log.is_empty() || log.ends_with('\n'));
    assert_eq!(statistics.written, log.lines().count() as u64);
    assert_eq!((statistics.dropped, statistics.write_errors), (0, 0));
    log
}

#[test]
fn a_message_is_one_line_of_common_log_format() {
    let lines = clf(256, || log(b"Hello Parrot\n"));
    assert_eq!(lines, [r#"127.0.0.1:53422 - - [time] "Hello Parrot\n" 13"#]);
}

#[test]
fn an_ipv6_peer_stands_in_brackets() {
    let peer: SocketAddr = "[2001:db8::1]:53422".parse().unwrap();
    let lines = clf(256, || {
        tracing::info!(target: MESSAGE_TARGET, peer = %peer, payload = &b"x"[..], bytes = 1_u64);
    });
    assert_eq!(lines, [r#"[2001:db8::1]:53422 - - [time] "x" 1"#]);
}

#[test]
fn the_user_behind_a_peer_has_the_third_place() {
    let record = || tracing::info!(target: MESSAGE_TARGET, peer = "unix", user = 1000_u32, payload = &b"x"[..]);
    assert_eq!(clf(256, record), [r#"unix - 1000 [time] "x" 1"#]);
    assert_eq!(json(256, record)[0]["user"], 1000);
}

#[test]
fn a_long_payload_is_cut_but_its_bytes_are_counted_in_full() {
    for (limit, expected) in
        [(13, r#""Hello Parrot\n" 13"#), (12, r#""Hello Parrot"... 13"#), (5, r#""Hello"... 13"#), (0, r#"""... 13"#)]
    {
        let lines = clf(limit, || log(b"Hello Parrot\n"));
        assert_eq!(lines, [format!("127.0.0.1:53422 - - [time] {expected}")]);
    }
}

#[test]
fn a_payload_shorter_than_its_message_counts_as_cut() {
    let lines = clf(256, || {
        tracing::info!(target: MESSAGE_TARGET, peer = "p", payload = &b"Hello"[..], bytes = 13_u64);
    });
    assert_eq!(lines, [r#"p - - [time] "Hello"... 13"#]);
}

#[test]
fn the_longest_line_fits_into_the_buffer() {
    let lines = clf(usize::MAX, || log(&[0xff; MAX_PAYLOAD + 1]));
    assert_eq!(
        lines,
        [format!("127.0.0.1:53422 - - [time] \"{}\"... {}", r"\xff".repeat(MAX_PAYLOAD), MAX_PAYLOAD + 1)]
    );
    let objects = json(usize::MAX, || log(&[b'"'; MAX_PAYLOAD + 1]));
    assert_eq!(objects[0]["payload"], r#"\""#.repeat(MAX_PAYLOAD));
}

#[test]
fn payloads_may_be_text_and_fields_may_be_missing() {
    let lines = clf(256, || {
        tracing::info!(target: MESSAGE_TARGET, peer = "p", payload = "text\n", bytes = 5_u64);
        tracing::info!(target: MESSAGE_TARGET, peer = "p", payload = %"shown\n", bytes = 6_i32);
        tracing::info!(target: MESSAGE_TARGET, peer = "p", payload = ?"debug");
        tracing::info!(target: MESSAGE_TARGET, peer = "p", payload = 42, bytes = -1);
        tracing::info!(target: MESSAGE_TARGET, payload = &b"no peer, no bytes"[..]);
        tracing::info!(target: MESSAGE_TARGET, peer = "p", bytes = 7_u64);
        tracing::info!(target: MESSAGE_TARGET, colour = "green", "no field of a line");
    });
    assert_eq!(
        lines,
        [
            r#"p - - [time] "text\n" 5"#,
            r#"p - - [time] "shown\n" 6"#,
            r#"p - - [time] "\"debug\"" 7"#,
            r#"p - - [time] "42" 2"#,
            r#"- - - [time] "no peer, no bytes" 17"#,
            r"p - - [time] - 7",
            r"- - - [time] - -",
        ]
    );
}

#[test]
fn a_peer_cannot_break_its_line_or_forge_a_gap() {
    let lines = clf(256, || {
        tracing::info!(target: MESSAGE_TARGET, peer = "- dropped\n", payload = &b""[..]);
        tracing::info!(target: MESSAGE_TARGET, peer = "x".repeat(1000), payload = &b""[..]);
    });
    assert_eq!(
        lines,
        [r#"-\x20dropped\n - - [time] "" 0"#.to_owned(), format!(r#"{} - - [time] "" 0"#, "x".repeat(256))]
    );
}

#[test]
fn events_of_other_targets_are_ignored() {
    let lines = clf(256, || {
        tracing::info!(peer = "p", payload = &b"x"[..], "another target");
        tracing::info!(target: "parrot::message::inner", peer = "p", payload = &b"x"[..]);
        log(b"x");
    });
    assert_eq!(lines.len(), 1);
}

#[test]
fn a_message_is_one_json_object() {
    let objects = json(5, || {
        log(b"a\n\"\\\0");
        log(b"Hello Parrot\n");
        tracing::info!(target: MESSAGE_TARGET, "no fields");
    });
    let times: Vec<&str> = objects.iter().map(|object| object["time"].as_str().unwrap()).collect();
    for time in &times {
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time} has no offset or is no time");
    }
    let peer = "127.0.0.1:53422";
    assert_eq!(
        objects,
        [
            json!({"peer": peer, "time": times[0], "payload": r#"a\n\"\\\x00"#, "truncated": false, "bytes": 5}),
            json!({"peer": peer, "time": times[1], "payload": "Hello", "truncated": true, "bytes": 13}),
            json!({"peer": null, "time": times[2], "payload": null, "truncated": false, "bytes": null}),
        ]
    );
}

#[test]
fn threads_that_log_at_once_do_not_mix_their_lines() {
    let (reader, writer) = piped(Format::Clf);
    let reading = read_to_end(reader);
    let dispatch = layer(&writer, 256);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let dispatch = dispatch.clone();
            scope.spawn(move || {
                with_default(&dispatch, || {
                    for message in 0..250 {
                        log(format!("{thread}.{message}").as_bytes());
                    }
                });
            });
        }
    });
    assert_eq!(writer.close(PATIENCE).written, 1000);
    let log = reading.join().unwrap();
    for thread in 0..4 {
        let prefix = format!("{thread}.");
        let of_thread: Vec<&str> = log.lines().map(quoted).filter(|text| text.starts_with(&prefix)).collect();
        let logged: Vec<String> = (0..250).map(|message| format!("{thread}.{message}")).collect();
        assert_eq!(of_thread, logged);
    }
}

/// Payloads of an attacker, rich in bytes that matter to lines and terminals.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        3 => any::<u8>(),
        2 => prop::sample::select(&b"\n\r\t\\\"\0\x1b\x7f\x85\x9b[] -.nx01"[..]),
    ];
    prop::collection::vec(byte, 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_record_is_one_line_that_decodes_to_its_bytes(
        payloads in prop::collection::vec(hostile(), 1..20),
        limit in 0_usize..300,
    ) {
        let lines = clf(limit, || payloads.iter().for_each(|payload| log(payload)));
        prop_assert_eq!(lines.len(), payloads.len());
        for (line, payload) in lines.iter().zip(&payloads) {
            prop_assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{}", line);
            prop_assert_eq!(decoded(quoted(line)), &payload[..payload.len().min(limit)]);
            let cut = if payload.len() > limit { "..." } else { "" };
            let end = format!("\"{cut} {}", payload.len());
            prop_assert!(line.ends_with(&end), "{}", line);
        }
    }

    #[test]
    fn one_record_is_one_json_object_that_decodes_to_its_bytes(payloads in prop::collection::vec(hostile(), 1..20)) {
        let objects = json(300, || payloads.iter().for_each(|payload| log(payload)));
        prop_assert_eq!(objects.len(), payloads.len());
        for (object, payload) in objects.iter().zip(&payloads) {
            prop_assert_eq!(&decoded(object["payload"].as_str().unwrap()), payload);
            prop_assert_eq!(object["bytes"].as_u64(), Some(payload.len() as u64));
        }
    }
}

#[test]
fn a_closed_log_takes_no_more_lines() {
    let (reader, writer) = piped(Format::Clf);
    logging(&writer, || {
        log(b"before");
        assert_eq!(writer.close(PATIENCE).written, 1);
        log(b"after");
    });
    assert_eq!(read_to_end(reader).join().unwrap().lines().count(), 1);
}
