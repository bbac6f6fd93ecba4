//! The writer: a bounded buffer of lines, and the thread that writes them to the log.
//!
//! The program appends to one of two buffers under a lock. The thread swaps it for the empty one and writes unlocked. A
//! slow log can drop lines, but it never delays the program.

use std::fmt;
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;

use crate::clock::LocalClock;
use crate::counts::Counts;
use crate::format::{Format, SharedFormat};
use crate::sink::Sink;
use crate::state::{Batch, Move, State, Wake};
use crate::target::Target;
use crate::zone;

/// The most bytes that wait for the thread. At 200,000 short lines a second they cover about 30 ms of a busy disk or
/// processor. A buffer grows this far only when the log is behind.
const BOUND: usize = 512 * 1024;

/// Enough bytes for a write of their own, so the thread is woken for them while it still gathers.
const BATCH: usize = 64 * 1024;

/// How long the thread gathers lines after a write before it writes again.
const GATHER: Duration = Duration::from_millis(10);

/// The first size of a buffer. Buffers double, so they end exactly at the bound.
const FIRST: usize = 4 * 1024;

/// The default of Rust. RUST_MIN_STACK could ask for more than the system has.
const STACK: usize = 2 * 1024 * 1024;

/// A larger buffer is freed when the log is idle.
const KEPT: usize = 16 * 1024;

/// A log that never makes the program wait. It takes lines into a buffer, and a thread of its own writes them.
///
/// Clones are handles of the same log. When the last one is dropped, the thread writes what is left and ends, but nothing
/// waits for it. A program that is about to exit calls [`close`](Writer::close), which waits.
///
/// The thread starts with the log and inherits the signal mask. A program that handles signals in one place has to block
/// them first.
#[derive(Debug, Clone)]
pub struct Writer {
    shared: Arc<Shared>,
    _last: Arc<CloseOnDrop>,
}

/// Numbers of a log since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriterStatistics {
    /// Lines written.
    pub written: u64,
    /// Lines dropped because the log was behind, failed or was closed.
    pub dropped: u64,
    /// Batches of lines that could not be written in full. The lines they cost count as dropped.
    pub write_errors: u64,
}

impl fmt::Display for WriterStatistics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WriterStatistics { written, dropped, write_errors } = self;
        write!(formatter, "{written} log lines written, {dropped} dropped, {write_errors} write errors")
    }
}

impl Writer {
    /// A log on standard output. The flags of the descriptor stay as they are, even if another process has made it
    /// non-blocking.
    ///
    /// # Errors
    ///
    /// Fails if the descriptor cannot be duplicated or the thread cannot be started.
    pub fn stdout(format: Format) -> io::Result<Writer> {
        Writer::at(Target::stdout()?, format)
    }

    /// A log at the end of the file at `path`. A new file is readable by its owner only (mode 0600). Opening never blocks,
    /// so a named pipe does not delay the start or a reopen.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be opened for appending or the thread cannot be started. The kind is
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe) for a named pipe that no process has open for reading.
    pub fn file(path: impl AsRef<Path>, format: Format) -> io::Result<Writer> {
        Writer::at(Target::file(path)?, format)
    }

    /// A log to this target.
    ///
    /// # Errors
    ///
    /// Fails if the thread cannot be started.
    pub fn at(target: Target, format: Format) -> io::Result<Writer> {
        Writer::start(target.0, format)
    }

    /// A log on any descriptor that can be written to: a pipe, a socket, a terminal. Its flags stay as they are.
    ///
    /// # Errors
    ///
    /// Fails if the thread cannot be started.
    pub fn descriptor(descriptor: OwnedFd, format: Format) -> io::Result<Writer> {
        Writer::start(Sink::descriptor(File::from(descriptor), "its descriptor"), format)
    }

    fn start(sink: Sink, format: Format) -> io::Result<Writer> {
        let writer = Writer::without_thread(format, zone::local());
        let worker = Worker::new(Arc::clone(&writer.shared), sink);
        let ended = SetEnded(Arc::clone(&writer.shared));
        let thread = thread::Builder::new().name("parrot-log".to_owned()).stack_size(STACK).spawn(move || {
            let _ended = ended; // set after the worker has closed its file, and also if it panics
            worker.run();
        })?;
        writer.shared.thread.get_or_init(|| thread.thread().clone());
        Ok(writer)
    }

    fn without_thread(format: Format, zone: TimeZone) -> Writer {
        let shared = Arc::new(Shared::new(format, zone));
        Writer { _last: Arc::new(CloseOnDrop(Arc::clone(&shared))), shared }
    }

    pub(crate) fn format(&self) -> Format {
        self.shared.format.get()
    }

    /// Has later lines written in another format. Lines that are there already stay as they are.
    pub fn set_format(&self, format: Format) {
        self.shared.format.set(format);
    }

    /// A clock that shows times as this log does, in this format.
    pub(crate) fn clock(&self, format: Format) -> LocalClock {
        self.shared.clock(format)
    }

    /// The numbers so far, each read by itself. Whoever asks for them makes nobody wait.
    #[must_use]
    pub fn statistics(&self) -> WriterStatistics {
        self.shared.counts.read()
    }

    /// Reopens the log's file at its path, after a log rotation. Every line logged from now on goes there.
    ///
    /// This does not wait. The thread opens the file, or else stays with the old one and logs a warning. On a log that is
    /// not a file it has no effect.
    pub fn reopen(&self) {
        self.shared.lock().reopen = true;
        self.shared.unpark();
    }

    /// Moves the log to another target. Lines that were logged before are written where it was.
    ///
    /// This does not wait.
    pub fn move_to(&self, target: Target) {
        let mut state = self.shared.lock();
        let before = state.take_pending();
        state.moves.push_back(Move { before, to: target.0 });
        drop(state);
        self.shared.unpark();
    }

    /// Closes the log for all of its handles, and waits up to `timeout` until its lines are written. Lines that are logged
    /// later are dropped.
    ///
    /// After the timeout the thread may still be blocked in a write, and lines not known to be written count as dropped.
    #[must_use = "the final numbers belong into the program's summary"]
    pub fn close(&self, timeout: Duration) -> WriterStatistics {
        self.shared.close();
        let waited = self.shared.ended.wait_timeout_while(self.shared.lock(), timeout, |state| !state.ended);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let mut statistics = self.shared.counts.read();
        statistics.dropped += state.unwritten();
        statistics
    }

    /// Takes one whole line, or counts it as dropped. Never waits for the log.
    pub(crate) fn append(&self, line: &[u8]) {
        let mut state = self.shared.lock();
        // After a gap nothing is appended until the thread has seen it, so that the log reports it in its place.
        if state.closed || state.dropped > 0 || state.pending.len() + line.len() > BOUND {
            state.dropped += 1;
            self.shared.counts.dropped.add(1);
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

/// What all handles of a log hold, so that the log closes when the last of them is dropped.
#[derive(Debug)]
struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The thread's part in a log's end.
struct SetEnded(Arc<Shared>);

impl Drop for SetEnded {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.ended.notify_all();
    }
}

/// What the handles and the thread share.
#[derive(Debug)]
struct Shared {
    format: SharedFormat,
    /// Read at the start, because without a free descriptor its files could not be read at a gap.
    zone: TimeZone,
    /// Held for an append or a swap, never while the thread writes, allocates in bulk or frees.
    state: Mutex<State>,
    counts: Counts,
    thread: OnceLock<Thread>,
    ended: Condvar,
}

impl Shared {
    fn new(format: Format, zone: TimeZone) -> Shared {
        Shared {
            format: SharedFormat::new(format),
            zone,
            state: Mutex::default(),
            counts: Counts::default(),
            thread: OnceLock::new(),
            ended: Condvar::new(),
        }
    }

    fn clock(&self, format: Format) -> LocalClock {
        LocalClock::new(self.zone.clone(), format.time_pattern())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing here panics between two changes that belong together, so a poisoned state is consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unpark(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn close(&self) {
        self.lock().closed = true;
        self.unpark();
    }
}

/// The thread's side.
struct Worker {
    shared: Arc<Shared>,
    sink: Sink,
    batch: Batch,
    /// Lines missing at the end of the log, which it does not report yet.
    missing: u64,
}

impl Worker {
    fn new(shared: Arc<Shared>, sink: Sink) -> Worker {
        Worker { shared, sink, batch: Batch::default(), missing: 0 }
    }

    fn run(mut self) {
        loop {
            self.take();
            if self.batch.reopen {
                self.sink.reopen();
            }
            self.write();
            if let Some(sink) = self.batch.then.take() {
                self.sink = sink;
                continue;
            }
            if self.batch.last {
                return;
            }
            self.gather();
        }
    }

    /// Sleeps until there is anything to do, then swaps the buffers.
    fn take(&mut self) {
        self.batch.bytes.clear();
        loop {
            let spare = {
                let mut state = self.shared.lock();
                if state.has_work() {
                    state.wake = Wake::Never;
                    self.batch = match state.moves.pop_front() {
                        Some(Move { before, to }) => Batch { then: Some(to), ..before },
                        None => {
                            let emptied = mem::take(&mut self.batch.bytes);
                            let batch = Batch { last: state.closed, ..state.take_pending() };
                            state.pending = emptied;
                            batch
                        }
                    };
                    state.lines_in_flight = self.batch.lines;
                    return;
                }
                state.wake = Wake::AnyLine;
                without_excess(&mut state.pending)
            };
            // The log is idle, so the memory of a burst is freed, outside of the lock.
            drop(spare);
            drop(without_excess(&mut self.batch.bytes));
            thread::park();
        }
    }

    /// Writes the batch. Lines that are missing before or after it are reported in their place.
    fn write(&mut self) {
        let mut works = self.report_gap();
        let mut written = 0;
        if works {
            (written, works) = match self.sink.write(&self.batch.bytes) {
                Ok(()) => (self.batch.lines, true),
                Err(through) => (through, false),
            };
        }
        let dropped = self.batch.lines - written;
        self.missing += dropped + self.batch.dropped_after;
        works = works && self.report_gap();

        let mut state = self.shared.lock();
        state.lines_in_flight = 0;
        self.shared.counts.written.add(written);
        self.shared.counts.dropped.add(dropped);
        self.shared.counts.write_errors.add(u64::from(!works));
    }

    /// Writes the number of lines that are missing at the end of the log, if there are any. False if that fails.
    fn report_gap(&mut self) -> bool {
        if self.missing == 0 {
            return true;
        }
        let mut line = Vec::new();
        let format = self.shared.format.get();
        format.dropped(self.missing, self.shared.clock(format).text(SystemTime::now()), &mut line);
        let outcome = self.sink.write(&line);
        if outcome != Err(0) {
            self.missing = 0;
        }
        outcome.is_ok()
    }

    /// Lets lines accumulate, so that a busy log costs a write every few milliseconds and not one for each line.
    fn gather(&self) {
        {
            let mut state = self.shared.lock();
            if state.pending.len() >= BATCH || state.reopen || state.closed || !state.moves.is_empty() {
                return;
            }
            state.wake = Wake::FullBatch;
        }
        // An early return only makes a smaller batch.
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
    fn nothing_is_appended_between_a_gap_and_its_report() {
        let writer = Writer::without_thread(Format::Clf, TimeZone::UTC); // nothing is ever taken from it
        while writer.shared.lock().dropped == 0 {
            writer.append(&[b'x'; 100]);
        }
        let held = writer.shared.lock().pending.len();
        assert!(held > BOUND - 100 && held < BOUND - 1, "room for a short line but not for a long one: {held}");
        writer.append(b"\n");
        let state = writer.shared.lock();
        assert_eq!((state.pending.len(), state.dropped), (held, 2));
    }

    #[test]
    fn a_gap_is_stamped_in_the_zone_of_the_start() {
        let (mut reader, end) = io::pipe().unwrap();
        let sink = Sink::descriptor(File::from(OwnedFd::from(end)), "a pipe");
        let shared = Arc::new(Shared::new(Format::Clf, TimeZone::posix("MST7").unwrap()));
        let mut worker = Worker::new(shared, sink);
        worker.missing = 17;
        worker.write();
        drop(worker);
        let mut line = String::new();
        reader.read_to_string(&mut line).unwrap();
        assert!(line.ends_with(" -0700] \"17 lines dropped\" -\n"), "{line}");
    }

    #[test]
    fn the_memory_of_a_burst_is_bounded_and_freed() {
        let (mut reader, end) = io::pipe().unwrap();
        let writer = Writer::descriptor(OwnedFd::from(end), Format::Clf).unwrap();
        let capacity = || writer.shared.lock().pending.capacity();
        let line = [b"x".repeat(99), vec![b'\n']].concat();
        while writer.statistics().dropped == 0 {
            writer.append(&line);
        }
        assert!(capacity() <= BOUND);

        let reading = thread::spawn(move || reader.read_to_end(&mut Vec::new()));
        let deadline = Instant::now() + Duration::from_secs(20);
        while writer.shared.lock().wake != Wake::AnyLine {
            assert!(Instant::now() < deadline, "the thread still writes");
            thread::sleep(Duration::from_millis(1));
        }
        writer.append(&line); // the thread frees before it sleeps, so the buffer of this line is a new one
        assert!(capacity() <= KEPT);
        let _ = writer.close(Duration::from_secs(20));
        assert!(reading.join().unwrap().is_ok());
    }
}
