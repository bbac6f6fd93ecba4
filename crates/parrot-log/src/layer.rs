//! The layers: from a tracing event to a line in the writer's buffer.

use std::sync::{Mutex, TryLockError};
use std::time::SystemTime;

use jiff::tz::TimeZone;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::clock::LocalClock;
use crate::format::Format;
use crate::record::Record;
use crate::writer::Writer;

/// The target of the events that become log lines. Events of every other target are ignored by these layers.
pub const MESSAGE_TARGET: &str = "parrot::message";

/// The most bytes of a payload that a line can show, so that the longest line fits into the writer's buffer; larger
/// limits are taken as this.
pub const MAX_PAYLOAD: usize = 32 * 1024;

/// Writes a line in extended Common Log Format for each message event.
///
/// ```no_run
/// use parrot_log::{ClfLayer, Writer};
/// use tracing_subscriber::{layer::SubscriberExt as _, util::SubscriberInitExt as _};
///
/// let (writer, guard) = Writer::stdout()?;
/// tracing_subscriber::registry().with(ClfLayer::new(writer, 256)).init();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct ClfLayer(MessageLayer);

impl ClfLayer {
    /// A layer whose lines show at most `payload_limit` bytes of a payload (see [`MAX_PAYLOAD`]).
    #[must_use]
    pub fn new(writer: Writer, payload_limit: usize) -> ClfLayer {
        ClfLayer(MessageLayer::new(Format::Clf, writer, payload_limit))
    }
}

impl<S: Subscriber> Layer<S> for ClfLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.event(event);
    }
}

/// Writes a line with a JSON object for each message event.
///
/// ```no_run
/// use parrot_log::{JsonLayer, Writer};
/// use tracing_subscriber::{layer::SubscriberExt as _, util::SubscriberInitExt as _};
///
/// let (writer, guard) = Writer::stdout()?;
/// tracing_subscriber::registry().with(JsonLayer::new(writer, 256)).init();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct JsonLayer(MessageLayer);

impl JsonLayer {
    /// A layer whose lines show at most `payload_limit` bytes of a payload (see [`MAX_PAYLOAD`]).
    #[must_use]
    pub fn new(writer: Writer, payload_limit: usize) -> JsonLayer {
        JsonLayer(MessageLayer::new(Format::Json, writer, payload_limit))
    }
}

impl<S: Subscriber> Layer<S> for JsonLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.event(event);
    }
}

/// What both layers are: a format, a writer, and the memory to make lines in.
#[derive(Debug)]
struct MessageLayer {
    format: Format,
    writer: Writer,
    payload_limit: usize,
    /// That of this machine (TZ, /etc/localtime; UTC if there is none), read once.
    zone: TimeZone,
    scratch: Mutex<Scratch>,
}

/// The memory a line is made in, kept from one line to the next.
#[derive(Debug)]
struct Scratch {
    record: Record,
    clock: LocalClock,
    line: Vec<u8>,
}

impl Scratch {
    fn new(format: Format, zone: TimeZone) -> Scratch {
        let clock = LocalClock::new(zone, format.time_pattern());
        Scratch { record: Record::new(), clock, line: Vec::new() }
    }
}

impl MessageLayer {
    fn new(format: Format, writer: Writer, payload_limit: usize) -> MessageLayer {
        writer.set_format(format);
        let payload_limit = payload_limit.min(MAX_PAYLOAD);
        let zone = TimeZone::system();
        let scratch = Mutex::new(Scratch::new(format, zone.clone()));
        MessageLayer { format, writer, payload_limit, zone, scratch }
    }

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() != MESSAGE_TARGET {
            return;
        }
        // The usual program logs from one thread and finds its scratch free. Another thread, or an event from within a
        // value that is being recorded, makes its line in memory of its own rather than wait.
        match self.scratch.try_lock() {
            Ok(mut scratch) => self.line(event, &mut scratch),
            Err(TryLockError::Poisoned(scratch)) => self.line(event, &mut scratch.into_inner()),
            Err(TryLockError::WouldBlock) => self.line(event, &mut Scratch::new(self.format, self.zone.clone())),
        }
    }

    fn line(&self, event: &Event<'_>, scratch: &mut Scratch) {
        let Scratch { record, clock, line } = scratch;
        record.restart(self.payload_limit);
        event.record(record);
        line.clear();
        self.format.message(record, clock.text(SystemTime::now()), line);
        self.writer.append(line);
    }
}
