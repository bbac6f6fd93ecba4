//! The layer: from a tracing event to a line in the writer's buffer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, TryLockError};
use std::time::SystemTime;

use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::clock::LocalClock;
use crate::format::Format;
use crate::record::Record;
use crate::writer::Writer;

/// The target of the events that become log lines. [`MessageLayer`] ignores events of every other target.
pub const MESSAGE_TARGET: &str = "parrot::message";

/// The most bytes of a payload that a line can show: 32 KiB, so that the longest line fits into the writer's buffer.
pub const MAX_PAYLOAD: usize = 32 * 1024;

/// Writes a line for each message event, in the format of its writer.
///
/// ```no_run
/// use parrot_log::{Format, MessageLayer, Writer};
/// use tracing_subscriber::{layer::SubscriberExt as _, util::SubscriberInitExt as _};
///
/// let writer = Writer::stdout(Format::Clf)?;
/// tracing_subscriber::registry().with(MessageLayer::new(writer, 256)).init();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct MessageLayer {
    writer: Writer,
    payload_limit: AtomicUsize,
    scratch: Mutex<Scratch>,
}

/// The memory a line is made in, kept from one line to the next.
#[derive(Debug)]
struct Scratch {
    record: Record,
    /// The format that the clock fits.
    format: Format,
    clock: LocalClock,
    line: Vec<u8>,
}

impl Scratch {
    fn new(writer: &Writer) -> Scratch {
        let format = writer.format();
        Scratch { record: Record::new(), format, clock: writer.clock(format), line: Vec::new() }
    }
}

impl MessageLayer {
    /// A layer whose lines show at most `payload_limit` bytes of a payload, and never more than [`MAX_PAYLOAD`].
    #[must_use]
    pub fn new(writer: Writer, payload_limit: usize) -> MessageLayer {
        let scratch = Mutex::new(Scratch::new(&writer));
        let payload_limit = payload_limit.min(MAX_PAYLOAD).into();
        MessageLayer { writer, payload_limit, scratch }
    }

    /// Has later lines show at most `payload_limit` bytes of a payload, and never more than [`MAX_PAYLOAD`].
    pub fn set_payload_limit(&self, payload_limit: usize) {
        self.payload_limit.store(payload_limit.min(MAX_PAYLOAD), Ordering::Relaxed);
    }

    fn line(&self, event: &Event<'_>, scratch: &mut Scratch) {
        let format = self.writer.format();
        if scratch.format != format {
            (scratch.format, scratch.clock) = (format, self.writer.clock(format));
        }
        let Scratch { record, clock, line, .. } = scratch;
        record.restart(self.payload_limit.load(Ordering::Relaxed));
        event.record(record);
        line.clear();
        format.message(record, clock.text(SystemTime::now()), line);
        self.writer.append(line);
    }
}

impl<S: Subscriber> Layer<S> for MessageLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != MESSAGE_TARGET {
            return;
        }
        // A program that logs from one thread always finds the scratch free. Another thread, or an event from within a
        // value that is being recorded, uses memory of its own rather than wait.
        match self.scratch.try_lock() {
            Ok(mut scratch) => self.line(event, &mut scratch),
            Err(TryLockError::Poisoned(scratch)) => self.line(event, &mut scratch.into_inner()),
            Err(TryLockError::WouldBlock) => self.line(event, &mut Scratch::new(&self.writer)),
        }
    }
}
