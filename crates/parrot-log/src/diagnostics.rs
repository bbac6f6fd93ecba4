//! Diagnostics on standard error that never hold up the program.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

use crate::pipe::write_at_once;

/// A destination for ordinary tracing output that drops and counts what its reader does not take, instead of waiting.
///
/// Before each write it checks that the descriptor has room, and it writes at most `PIPE_BUF` bytes, which a pipe that
/// has room takes without blocking (pipe(7); 512 bytes on macOS and the BSDs, 4,096 on Linux). A
/// [`Writer`](crate::Writer) on the same pipe (`program 2>&1 | reader`) cannot fill it in between. Another process can,
/// and then the write blocks, as it does when the disk under a regular file is slow. The flags of the descriptor stay
/// as they are. A line with the number of dropped records follows as soon as there is room again.
///
/// ```no_run
/// use parrot_log::Diagnostics;
/// use tracing_subscriber::{Layer as _, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};
///
/// let diagnostics = Diagnostics::stderr()?;
/// tracing_subscriber::registry().with(fmt::layer().with_writer(diagnostics.clone())).init();
/// tracing::info!("on standard error");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Diagnostics {
    shared: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    file: File,
    mid_record: bool,
    dropped: u64,
    unreported: u64,
}

impl Diagnostics {
    /// Diagnostics on standard error.
    ///
    /// # Errors
    ///
    /// Fails if the descriptor cannot be duplicated.
    pub fn stderr() -> io::Result<Diagnostics> {
        Ok(Diagnostics::descriptor(io::stderr().as_fd().try_clone_to_owned()?))
    }

    /// Diagnostics on any descriptor that can be written to.
    #[must_use]
    pub fn descriptor(descriptor: OwnedFd) -> Diagnostics {
        let state = State { file: File::from(descriptor), mid_record: false, dropped: 0, unreported: 0 };
        Diagnostics { shared: Arc::new(Mutex::new(state)) }
    }

    /// How many records were dropped, in full or in part.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> MakeWriter<'a> for Diagnostics {
    type Writer = &'a Diagnostics;

    fn make_writer(&'a self) -> &'a Diagnostics {
        self
    }
}

/// Each call takes one whole record and never fails. A record that cannot be written is counted.
impl Write for &Diagnostics {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        self.lock().record(record);
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl State {
    fn record(&mut self, record: &[u8]) {
        // All of it goes out in one write if it fits, because a first write could use up the room for a second.
        let mut bytes = Vec::new();
        if self.mid_record {
            bytes.push(b'\n');
        }
        if self.unreported > 0 {
            let gap = format!("(diagnostics dropped here: {}; standard error was not read)\n", self.unreported);
            bytes.extend_from_slice(gap.as_bytes());
        }
        let before_record = bytes.len();
        bytes.extend_from_slice(record);

        let left = self.write(&bytes).len();
        if bytes.len() - left >= before_record {
            self.unreported = 0;
        }
        if left > 0 {
            self.dropped += 1;
            self.unreported += 1;
        }
    }

    /// Writes as long as there is room, and returns what did not get through.
    fn write<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        while !rest.is_empty() {
            match write_at_once(&self.file, rest) {
                Ok(count) if count > 0 => {
                    let (taken, left) = rest.split_at(count.min(rest.len()));
                    self.mid_record = !taken.ends_with(b"\n");
                    rest = left;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => break, // closed, full, or made non-blocking by another process
            }
        }
        rest
    }
}
