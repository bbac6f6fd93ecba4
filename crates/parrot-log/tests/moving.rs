//! A log that moves, and lines that change their form, while a program logs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;

use parrot_log::{Format, MAX_PAYLOAD, MessageLayer, Target, Writer};
use parrot_testkit::PATIENCE;
use tempfile::tempdir;
use tracing::Subscriber;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use support::{log, logging, quoted};

const LINES: usize = 2000;

fn log_numbers(numbers: std::ops::Range<usize>) {
    numbers.for_each(|number| log(number.to_string().as_bytes()));
}

fn numbers(log: &str) -> Vec<usize> {
    log.lines().map(|line| quoted(line).parse().unwrap()).collect()
}

#[test]
fn lines_before_a_move_stay_and_lines_after_it_follow() {
    let directory = tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let writer = Writer::file(path("0"), Format::Clf).unwrap();
    logging(&writer, || {
        for target in 0..4 {
            log_numbers(target * LINES..(target + 1) * LINES);
            writer.move_to(Target::file(path(&(target + 1).to_string())).unwrap());
        }
        log_numbers(4 * LINES..5 * LINES);
    });
    let statistics = writer.close(PATIENCE);
    assert_eq!((statistics.written, statistics.dropped), (5 * LINES as u64, 0));
    for target in 0..5 {
        let log = fs::read_to_string(path(&target.to_string())).unwrap();
        assert_eq!(numbers(&log), (target * LINES..(target + 1) * LINES).collect::<Vec<_>>());
    }
}

#[test]
fn a_target_that_cannot_be_opened_leaves_the_log_as_it_was() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("log");
    let writer = Writer::file(&path, Format::Clf).unwrap();
    let error = Target::file(directory.path().join("nowhere/log")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    logging(&writer, || log_numbers(0..3));
    let _ = writer.close(PATIENCE);
    assert_eq!(numbers(&fs::read_to_string(&path).unwrap()), [0, 1, 2]);
}

#[test]
fn a_new_format_holds_for_the_next_line() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("log");
    let writer = Writer::file(&path, Format::Clf).unwrap();
    logging(&writer, || {
        log(b"first");
        writer.set_format(Format::Json);
        log(b"second");
        writer.set_format(Format::Clf);
        log(b"third");
    });
    let _ = writer.close(PATIENCE);
    let log = fs::read_to_string(&path).unwrap();
    let [first, second, third] = log.lines().collect::<Vec<_>>()[..] else { panic!("{log}") };
    assert_eq!((quoted(first), quoted(third)), ("first", "third"));
    let second: serde_json::Value = serde_json::from_str(second).unwrap();
    assert_eq!(second["payload"], "second");
    // Each format has its own way to write the time.
    assert!(second["time"].as_str().unwrap().contains('T') && !first.contains('T'), "{log}");
}

/// A layer that the test keeps.
struct Kept(Arc<MessageLayer>);

impl<S: Subscriber> Layer<S> for Kept {
    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        self.0.on_event(event, context);
    }
}

#[test]
fn a_new_limit_of_the_payload_holds_for_the_next_line() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("log");
    let writer = Writer::file(&path, Format::Clf).unwrap();
    let layer = Arc::new(MessageLayer::new(writer.clone(), 3));
    let subscriber = tracing_subscriber::registry().with(Kept(Arc::clone(&layer)));
    tracing::subscriber::with_default(subscriber, || {
        log(b"squawk");
        layer.set_payload_limit(MAX_PAYLOAD);
        log(b"squawk");
        layer.set_payload_limit(1);
        log(b"squawk");
    });
    let _ = writer.close(PATIENCE);
    let log = fs::read_to_string(&path).unwrap();
    assert_eq!(log.lines().map(quoted).collect::<Vec<_>>(), ["squ", "squawk", "s"], "{log}");
}
