//! The first write error is reported once, through the same subscriber that the log is a layer of.
//!
//! This test has a file of its own because it needs the global subscriber, the only one that the writer's thread has.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::sync::atomic::{AtomicU64, Ordering};

use parrot_log::{Format, MessageLayer};
use parrot_testkit::{PATIENCE, wait_until};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use support::{log, piped};

static WARNINGS: AtomicU64 = AtomicU64::new(0);

struct CountWarnings;

impl<S: Subscriber> Layer<S> for CountWarnings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "parrot_log" && *event.metadata().level() == Level::WARN {
            WARNINGS.fetch_add(1, Ordering::SeqCst);
            log(b"an event from within the warning"); // must not deadlock
        }
    }
}

#[test]
fn only_the_first_write_error_is_reported() {
    let (reader, writer) = piped(Format::Clf);
    drop(reader);
    tracing_subscriber::registry().with(MessageLayer::new(writer.clone(), 256)).with(CountWarnings).init();
    for errors in 1..=5 {
        log(b"to nobody");
        wait_until("another error", || writer.statistics().write_errors >= errors);
    }
    let statistics = writer.close(PATIENCE);
    assert_eq!(WARNINGS.load(Ordering::SeqCst), 1);
    assert_eq!((statistics.written, statistics.dropped), (0, 6));
}
