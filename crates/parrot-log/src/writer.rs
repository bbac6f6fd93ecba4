//! The writer: a bounded buffer of lines, and the thread that brings them to the log.
//!
//! Two buffers take turns. Who logs appends to one under a lock; the thread swaps it for the other, empty one and writes
//! outside of the lock. So a slow log fills a buffer and then costs lines, and it never costs time.

use std::fmt;
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread::{self, Thread};
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;

use crate::clock::LocalClock;
use crate::format::Format;
use crate::sink::Sink;

/// The most bytes that wait to be taken by the thread. At 200,000 short lines a second this is some 30 ms of a busy disk
/// or processor. A buffer grows to it only when the log is behind.
const BOUND: usize = 512 * 1024;

/// Enough bytes for a write of their own: the thread is woken for them before it has finished gathering.
const BATCH: usize = 64 * 1024;

/// How long the thread gathers lines after a write before it writes again.
const GATHER: Duration = Duration::from_millis(10);

/// The first size of a buffer. Buffers double, so they end exactly at the bound.
const FIRST: usize = 4 * 1024;

/// A buffer larger than this is given back when the log is idle.
const KEPT: usize = 16 * 1024;

/// The way into a log, for one layer. See [`WriterGuard`] for the way to close it.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
}

/// Numbers of a log since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriterStatistics {
    /// Lines written.
    pub written: u64,
    /// Lines lost because the log was behind, refused them, or was closed.
    pub dropped: u64,
    /// Writes that failed. The lines they cost are among those dropped; one that was to tell of a gap cost none.
    pub write_errors: u64,
}

impl fmt::Display for WriterStatistics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WriterStatistics { written, dropped, write_errors } = self;
        write!(formatter, "{written} log lines written, {dropped} dropped, {write_errors} write errors")
    }
}

impl Writer {
    /// A log on standard output. Its flags stay as they are, also when someone else made it non-blocking.
    ///
    /// The thread that writes starts here and inherits the signal mask: a program that takes signals in one place blocks
    /// them first.
    ///
    /// # Errors
    ///
    /// When the descriptor cannot be duplicated or the thread cannot be started.
    pub fn stdout() -> io::Result<(Writer, WriterGuard)> {
        let descriptor = io::stdout().as_fd().try_clone_to_owned()?;
        Writer::start(Sink::descriptor(File::from(descriptor), "stdout"))
    }

    /// A log at the end of the file at `path`, which is created readable by its owner only (mode 0600) if it is not
    /// there. It is opened without blocking, so that a named pipe does not hold up who starts or reopens a log.
    ///
    /// The thread that writes starts here, see [`Writer::stdout`].
    ///
    /// # Errors
    ///
    /// When the file cannot be opened for appending or the thread cannot be started; of the kind
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe) when it is a named pipe that nobody has open for reading.
    pub fn file(path: impl AsRef<Path>) -> io::Result<(Writer, WriterGuard)> {
        Writer::start(Sink::open(path.as_ref())?)
    }

    /// A log on any descriptor that can be written to: a pipe, a socket, a terminal. Its flags stay as they are.
    ///
    /// The thread that writes starts here, see [`Writer::stdout`].
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn descriptor(descriptor: OwnedFd) -> io::Result<(Writer, WriterGuard)> {
        Writer::start(Sink::descriptor(File::from(descriptor), "its descriptor"))
    }

    fn start(sink: Sink) -> io::Result<(Writer, WriterGuard)> {
        let shared = Arc::new(Shared::default());
        let (ended_sender, ended) = mpsc::channel();
        let worker = Worker::new(Arc::clone(&shared), sink, TimeZone::system());
        let thread = thread::Builder::new().name("parrot-log".to_owned()).spawn(move || {
            worker.run();
            drop(ended_sender);
        })?;
        shared.thread.get_or_init(|| thread.thread().clone());
        Ok((Writer { shared: Arc::clone(&shared) }, WriterGuard { shared, ended }))
    }

    /// In which form gaps are written: that of the layer.
    pub(crate) fn set_format(&self, format: Format) {
        self.shared.format.get_or_init(|| format);
    }

    /// Hands over one whole line, or counts it as dropped. Never waits for the log.
    pub(crate) fn append(&self, line: &[u8]) {
        let mut state = self.shared.lock();
        // Behind a gap nothing is appended until the thread has taken note of it, so that it is reported in its place.
        if state.closed || state.dropped > 0 || state.pending.len() + line.len() > BOUND {
            state.dropped += 1;
            state.statistics.dropped += 1;
            return;
        }
        if state.pending.capacity() == 0 {
            state.pending.reserve_exact(FIRST.max(line.len()));
        }
        state.pending.extend_from_slice(line);
        state.pending_lines += 1;
        let wanted = match state.wake {
            Wake::Never => false,
            Wake::FullBatch => state.pending.len() >= BATCH,
            Wake::AnyLine => true,
        };
        if wanted {
            state.wake = Wake::Never;
            drop(state);
            self.shared.unpark();
        }
    }
}

/// The owner's handle of a log: reopens it, reads its numbers, closes it.
///
/// Dropped without [`close`](Self::close) it lets the thread write what is left, and does not wait for that. Lines that
/// are logged after that are dropped.
#[derive(Debug)]
pub struct WriterGuard {
    shared: Arc<Shared>,
    ended: mpsc::Receiver<()>,
}

impl WriterGuard {
    /// See [`WriterHandle::reopen`].
    pub fn reopen(&self) {
        self.shared.reopen();
    }

    /// A handle on the log, for elsewhere.
    #[must_use]
    pub fn handle(&self) -> WriterHandle {
        WriterHandle { shared: Arc::clone(&self.shared) }
    }

    /// The numbers so far.
    #[must_use]
    pub fn statistics(&self) -> WriterStatistics {
        self.shared.lock().statistics
    }

    /// Closes the log: takes no more lines, and waits until those it has are written, but not longer than `patience`.
    ///
    /// When that is over the thread may still be stuck in a write; it ends with the process. Lines of which it is not
    /// known that they were written are counted as dropped.
    #[must_use = "the final numbers are what a summary shows"]
    pub fn close(self, patience: Duration) -> WriterStatistics {
        self.shared.close();
        // The thread sends nothing: the channel is disconnected when it ends.
        let ended = self.ended.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Disconnected);
        let state = self.shared.lock();
        let mut statistics = state.statistics;
        if !ended {
            statistics.dropped += state.pending_lines + state.lines_in_flight;
        }
        statistics
    }
}

impl Drop for WriterGuard {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// Reopens a log, for log rotation, and tells its numbers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WriterHandle {
    shared: Arc<Shared>,
}

impl WriterHandle {
    /// The numbers so far.
    #[must_use]
    pub fn statistics(&self) -> WriterStatistics {
        self.shared.lock().statistics
    }

    /// Has the log's file opened anew at its path: every line logged from now on goes there. Does not wait: the thread
    /// opens the file, goes on with the old one if it cannot, and warns of that. Without effect on a log that is not a
    /// file.
    pub fn reopen(&self) {
        self.shared.reopen();
    }
}

/// What who logs and the thread share.
#[derive(Debug, Default)]
struct Shared {
    /// Held for an append or a swap, never while anything is written, allocated in bulk or freed by the thread.
    state: Mutex<State>,
    thread: OnceLock<Thread>,
    format: OnceLock<Format>,
}

#[derive(Debug, Default)]
struct State {
    pending: Vec<u8>,
    pending_lines: u64,
    /// Lines dropped behind the pending ones.
    dropped: u64,
    wake: Wake,
    reopen: bool,
    closed: bool,
    lines_in_flight: u64,
    statistics: WriterStatistics,
}

/// What the thread wants to be woken for. Who wakes it sets this to `Never`: one wake-up a batch.
#[derive(Debug, Default, PartialEq, Eq)]
enum Wake {
    #[default]
    Never,
    FullBatch,
    AnyLine,
}

impl State {
    fn has_work(&self) -> bool {
        !self.pending.is_empty() || self.dropped > 0 || self.reopen || self.closed
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code in here panics between two changes that belong together, so a poisoned state is a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unpark(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn reopen(&self) {
        self.lock().reopen = true;
        self.unpark();
    }

    fn close(&self) {
        self.lock().closed = true;
        self.unpark();
    }
}

/// What the thread has taken to write.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: u64,
    reopen: bool,
    last: bool,
}

/// The thread's side.
struct Worker {
    shared: Arc<Shared>,
    sink: Sink,
    /// Read at the start: its files may be out of reach by the time of a gap, for want of a descriptor.
    zone: TimeZone,
    batch: Batch,
    /// Lines lost that no line in the log tells of yet.
    unreported: u64,
}

impl Worker {
    fn new(shared: Arc<Shared>, sink: Sink, zone: TimeZone) -> Worker {
        Worker { shared, sink, zone, batch: Batch::default(), unreported: 0 }
    }

    fn run(mut self) {
        loop {
            self.take();
            if self.batch.reopen {
                self.sink.reopen();
            }
            self.write();
            if self.batch.last {
                return;
            }
            self.gather();
        }
    }

    /// Swaps buffers as soon as there is anything to do; sleeps until then.
    fn take(&mut self) {
        self.batch.bytes.clear();
        loop {
            let spare = {
                let mut state = self.shared.lock();
                if state.has_work() {
                    state.wake = Wake::Never;
                    mem::swap(&mut state.pending, &mut self.batch.bytes);
                    self.batch.lines = mem::take(&mut state.pending_lines);
                    self.batch.reopen = mem::take(&mut state.reopen);
                    self.batch.last = state.closed;
                    self.unreported += mem::take(&mut state.dropped);
                    state.lines_in_flight = self.batch.lines;
                    return;
                }
                state.wake = Wake::AnyLine;
                without_excess(&mut state.pending)
            };
            // The log is idle: a burst's memory goes back, outside of the lock.
            drop(spare);
            drop(without_excess(&mut self.batch.bytes));
            thread::park();
        }
    }

    /// Writes the batch, and behind it how many lines are missing there.
    fn write(&mut self) {
        if self.unreported > 0 {
            let format = *self.shared.format.get().unwrap_or(&Format::Clf);
            let mut clock = LocalClock::new(self.zone.clone(), format.time_pattern());
            format.dropped(self.unreported, clock.text(SystemTime::now()), &mut self.batch.bytes);
        }
        let outcome = self.sink.write(&self.batch.bytes);
        let (written, failed) = match outcome {
            Ok(()) => (self.batch.lines, false),
            Err(through) => {
                let whole = self.batch.bytes.iter().take(through).filter(|&&byte| byte == b'\n').count();
                (self.batch.lines.min(whole as u64), true)
            }
        };
        let lost = self.batch.lines - written;
        self.unreported = if failed { self.unreported + lost } else { 0 };

        let mut state = self.shared.lock();
        state.lines_in_flight = 0;
        state.statistics.written += written;
        state.statistics.dropped += lost;
        state.statistics.write_errors += u64::from(failed);
    }

    /// Lets lines come together, so that a busy log costs a write every few milliseconds and not one a line.
    fn gather(&self) {
        {
            let mut state = self.shared.lock();
            if state.pending.len() >= BATCH || state.reopen || state.closed {
                return;
            }
            state.wake = Wake::FullBatch;
        }
        // Returning early for no reason makes a smaller batch, nothing else.
        thread::park_timeout(GATHER);
    }
}

/// Takes an empty buffer away if it is larger than an idle log keeps.
fn without_excess(buffer: &mut Vec<u8>) -> Vec<u8> {
    if buffer.capacity() > KEPT { mem::take(buffer) } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::Instant;

    use super::*;

    #[test]
    fn behind_a_gap_nothing_is_appended_before_the_gap_is_noted() {
        let writer = Writer { shared: Arc::default() }; // without a thread nothing is taken
        while writer.shared.lock().dropped == 0 {
            writer.append(&[b'x'; 100]);
        }
        let held = writer.shared.lock().pending.len();
        assert!(
            held > BOUND - 100 && held < BOUND - 1,
            "there is room for a short line and not for a long one: {held}"
        );
        writer.append(b"\n");
        let state = writer.shared.lock();
        assert_eq!((state.pending.len(), state.dropped), (held, 2));
    }

    #[test]
    fn a_gap_is_stamped_in_the_zone_of_the_start() {
        let (mut reader, end) = io::pipe().unwrap();
        let sink = Sink::descriptor(File::from(OwnedFd::from(end)), "a pipe");
        let mut worker = Worker::new(Arc::default(), sink, TimeZone::posix("MST7").unwrap());
        worker.unreported = 17;
        worker.write();
        drop(worker);
        let mut line = String::new();
        reader.read_to_string(&mut line).unwrap();
        assert!(line.ends_with(" -0700] \"17 lines dropped\" -\n"), "{line}");
    }

    #[test]
    fn the_memory_of_a_burst_is_bounded_and_given_back() {
        let (mut reader, end) = io::pipe().unwrap();
        let (writer, guard) = Writer::descriptor(OwnedFd::from(end)).unwrap();
        let line = [b"x".repeat(99), vec![b'\n']].concat();
        while guard.statistics().dropped == 0 {
            writer.append(&line);
        }
        assert!(writer.shared.lock().pending.capacity() <= BOUND);

        let reading = thread::spawn(move || reader.read_to_end(&mut Vec::new()));
        let deadline = Instant::now() + Duration::from_secs(20);
        while writer.shared.lock().wake != Wake::AnyLine {
            assert!(Instant::now() < deadline, "the thread did not come to rest");
            thread::sleep(Duration::from_millis(1));
        }
        writer.append(&line); // the thread gives back before it sleeps, so the buffer of this line is a new one
        assert!(writer.shared.lock().pending.capacity() <= KEPT);
        let _ = guard.close(Duration::from_secs(20));
        drop(writer);
        assert!(reading.join().unwrap().is_ok());
    }
}
