//! Where the writer's thread puts its bytes: an open file, pipe or terminal, and what to do when it refuses them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::turn::{is_shared, write_at_once};

/// The pause before another try where the system says "writable" and then "would block", or cannot say at all.
const PAUSE: Duration = Duration::from_millis(10);

/// An open log. All of its methods may block; only the writer's thread calls them.
#[derive(Debug)]
pub(crate) struct Sink {
    file: File,
    /// What a warning calls a log that has no path.
    name: &'static str,
    path: Option<PathBuf>,
    /// Diagnostics go the same way, and must not wait for room that the log has taken.
    takes_turns: bool,
    mid_line: bool,
    warned: bool,
}

impl Sink {
    /// Takes over an open descriptor as it is: its flags belong to everyone who shares the open file.
    pub(crate) fn descriptor(file: File, name: &'static str) -> Sink {
        let takes_turns = is_shared(&file, io::stderr());
        Sink { file, name, path: None, takes_turns, mid_line: false, warned: false }
    }

    /// Opens the log at `path` for appending; a new file is for its owner's eyes only.
    pub(crate) fn open(path: &Path) -> io::Result<Sink> {
        // The thread that reopens it may live in another directory by then.
        let path = std::path::absolute(path)?;
        Ok(Sink { path: Some(path.clone()), ..Sink::descriptor(append_to(&path)?, "its file") })
    }

    /// Opens the log's path anew, for who has moved the file away; keeps the old file if that fails.
    pub(crate) fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match append_to(path) {
            Ok(file) => *self = Sink { path: self.path.take(), ..Sink::descriptor(file, self.name) },
            Err(error) => {
                let log = path.display();
                tracing::warn!(target: "parrot_log", %log, %error, "the log could not be reopened and goes on in the \
                    old file; see to the path and send SIGHUP again");
            }
        }
    }

    /// Writes whole lines, waiting as long as it takes. On an error says how many bytes of `lines` got through.
    pub(crate) fn write(&mut self, lines: &[u8]) -> Result<(), usize> {
        // What an error has cut stays a line of its own.
        if self.mid_line && !lines.is_empty() && self.write_piecewise(b"\n").is_err() {
            return Err(0);
        }
        self.write_piecewise(lines)
    }

    fn write_piecewise(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut rest = bytes;
        let mut asked = false;
        while !rest.is_empty() {
            let outcome = if self.takes_turns { write_at_once(&self.file, rest) } else { self.file.write(rest) };
            match outcome {
                Ok(count) if count > 0 => {
                    let (taken, left) = rest.split_at(count.min(rest.len()));
                    self.mid_line = !taken.ends_with(b"\n");
                    rest = left;
                    asked = false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Opened that way, made so by whoever shares it, or full where turns are taken. This thread waits.
                    if asked || !self.wait_until_writable() {
                        thread::sleep(PAUSE);
                    }
                    asked = true;
                }
                refused => {
                    self.warn(refused.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into()));
                    return Err(bytes.len() - rest.len());
                }
            }
        }
        Ok(())
    }

    /// Waits for room, without end; false if the system cannot tell when there is some.
    fn wait_until_writable(&self) -> bool {
        let mut descriptors = [PollFd::new(&self.file, PollFlags::OUT)];
        loop {
            match poll(&mut descriptors, None) {
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
                // macOS answers NVAL for devices it cannot poll (poll(2), BUGS).
                Ok(_) => return descriptors.iter().all(|descriptor| !descriptor.revents().contains(PollFlags::NVAL)),
            }
        }
    }

    /// Tells of the first error only: a full disk refuses every batch.
    fn warn(&mut self, error: io::Error) {
        if self.warned {
            return;
        }
        self.warned = true;
        let log = self.path.as_deref().map_or_else(|| self.name.into(), |path| path.to_string_lossy());
        let next_step = match error.kind() {
            io::ErrorKind::BrokenPipe => "its reader has gone: start the program again with another log",
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "its disk is full: make room",
            _ => "see to the file, or move it away and send SIGHUP",
        };
        tracing::warn!(target: "parrot_log", %log, %error, "the log cannot be written: lines are lost and counted until \
            it can; {next_step}");
    }
}

/// Opens without waiting, as a named pipe would have it until someone reads (open(2), ENXIO; fifo(7)). The flag stays:
/// writing knows how to wait, and on the BSDs `/dev/stdout` is the inherited descriptor itself, whose flags are others' too.
fn append_to(path: &Path) -> io::Result<File> {
    let at_once = OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(at_once).open(path);
    opened.map_err(|error| if lacks_a_reader(&error, path) { nobody_reads() } else { error })
}

fn lacks_a_reader(error: &io::Error, path: &Path) -> bool {
    Errno::from_io_error(error) == Some(Errno::NXIO) && path.metadata().is_ok_and(|file| file.file_type().is_fifo())
}

fn nobody_reads() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads this pipe yet")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_line_that_was_cut_the_next_begins_on_a_line_of_its_own() {
        let path = std::env::temp_dir().join(format!("parrot-log-cut-{}", std::process::id()));
        let mut sink = Sink::open(&path).unwrap();
        assert_eq!(sink.write(b"first\nsecond, cu"), Ok(())); // as an error in the midst of it leaves it
        assert_eq!(sink.write(b""), Ok(()));
        assert_eq!(sink.write(b"third\n"), Ok(()));
        assert_eq!(sink.write(b"fourth\n"), Ok(()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first\nsecond, cu\nthird\nfourth\n");
        std::fs::remove_file(&path).unwrap();
    }
}
