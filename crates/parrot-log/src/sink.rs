//! The open file, pipe or terminal that the writer's thread writes to, and what happens when a write fails.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::destination::Destination;
use crate::pipe::{same_pipe, write_at_once};

/// The pause before another try if the system reports "writable" and then "would block", or cannot poll the descriptor.
const PAUSE: Duration = Duration::from_millis(10);

/// An open log. All of its methods may block, so only the writer's thread calls them.
#[derive(Debug)]
pub(crate) struct Sink {
    file: File,
    /// What a warning calls a log that has no path.
    name: &'static str,
    path: Option<PathBuf>,
    destination: Destination,
    /// Diagnostics go to the same pipe, and must not wait for room that the log has used up.
    shares_stderr: bool,
    mid_line: bool,
    warned: bool,
}

impl Sink {
    /// A log on an open descriptor. Its flags stay as they are, because they belong to everyone who shares the open file.
    pub(crate) fn descriptor(file: File, name: &'static str) -> Sink {
        let shares_stderr = same_pipe(&file, io::stderr());
        let destination = Destination::of(&file);
        Sink { file, name, path: None, destination, shares_stderr, mid_line: false, warned: false }
    }

    /// Opens the log at `path` for appending. A new file is readable by its owner only.
    pub(crate) fn open(path: &Path) -> io::Result<Sink> {
        // The program may have changed its directory before a reopen.
        let path = std::path::absolute(path)?;
        let file = append_to(&path)?;
        let mid_line = ends_mid_line(&file, &path);
        Ok(Sink { path: Some(path), mid_line, ..Sink::descriptor(file, "its file") })
    }

    /// Reopens the log's path after the file was moved away. Keeps the old file if that fails.
    pub(crate) fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match Sink::open(path) {
            Ok(sink) => *self = sink,
            Err(error) => {
                let log = path.display();
                let next_step = match error.kind() {
                    io::ErrorKind::BrokenPipe => "start its reader",
                    _ => "check the path",
                };
                tracing::warn!(target: "parrot_log", %log, %error, "cannot reopen the log, which stays open as it was; \
                    {next_step} and send SIGHUP again");
            }
        }
    }

    /// Writes whole lines and waits as long as it takes. An error carries the number of lines that got through.
    pub(crate) fn write(&mut self, lines: &[u8]) -> Result<(), u64> {
        // A line that an error has cut short stays a line of its own.
        if self.mid_line && !lines.is_empty() && self.write_piecewise(b"\n").is_err() {
            return Err(0);
        }
        self.write_piecewise(lines).map_err(|through| {
            // A line without its newline got through, because the newline goes first the next time.
            let whole = lines.iter().take(through + 1).filter(|&&byte| byte == b'\n');
            whole.count() as u64
        })
    }

    fn write_piecewise(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut rest = bytes;
        let mut asked = false;
        while !rest.is_empty() {
            let outcome = if self.shares_stderr { write_at_once(&self.file, rest) } else { self.file.write(rest) };
            match outcome {
                Ok(count) if count > 0 => {
                    let (taken, left) = rest.split_at(count.min(rest.len()));
                    self.mid_line = !taken.ends_with(b"\n");
                    rest = left;
                    asked = false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Opened non-blocking, made so by another process, or a full pipe shared with stderr.
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

    /// Waits for room without a timeout. False if the system cannot poll the descriptor.
    fn wait_until_writable(&self) -> bool {
        let mut descriptors = [PollFd::new(&self.file, PollFlags::OUT)];
        loop {
            match poll(&mut descriptors, None) {
                Err(Errno::INTR) => {}
                Err(_) => return false,
                // macOS reports NVAL for devices that it cannot poll (poll(2), BUGS).
                Ok(_) => return descriptors.iter().all(|descriptor| !descriptor.revents().contains(PollFlags::NVAL)),
            }
        }
    }

    /// Warns of the first error only, because a full disk refuses every batch.
    fn warn(&mut self, error: io::Error) {
        if self.warned {
            return;
        }
        self.warned = true;
        let log = self.path.as_deref().map_or_else(|| self.name.into(), |path| path.to_string_lossy());
        let next_step = self.destination.next_step(error.kind(), self.path.is_some());
        let until = if self.destination.may_recover() { " until it works" } else { "" };
        tracing::warn!(target: "parrot_log", %log, %error, "cannot write the log ({next_step}); lines are dropped \
            and counted{until}");
    }
}

/// Opens the file without blocking. A named pipe would otherwise wait for its reader (fifo(7); ENXIO in open(2)).
///
/// The descriptor stays non-blocking. Writing copes with that, and on the BSDs `/dev/stdout` is the inherited descriptor
/// itself, whose flags other processes share.
fn append_to(path: &Path) -> io::Result<File> {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(nonblocking).open(path);
    opened.map_err(|error| match path.metadata().map(|file| file.file_type()) {
        Ok(file) if file.is_fifo() && Errno::from_io_error(&error) == Some(Errno::NXIO) => {
            io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads this pipe yet")
        }
        Ok(file) if file.is_socket() => io::Error::new(io::ErrorKind::Unsupported, "a socket has no file to open"),
        _ => error,
    })
}

/// Whether a regular file ends with a part of a line, because a full disk or a crash has cut it short.
fn ends_mid_line(file: &File, path: &Path) -> bool {
    let last_byte = || {
        let length = file.metadata().ok().filter(Metadata::is_file)?.len();
        let mut byte = [0];
        File::open(path).ok()?.read_exact_at(&mut byte, length.checked_sub(1)?).ok()?;
        Some(byte)
    };
    last_byte().is_some_and(|byte| byte != *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_line_after_a_cut_one_stands_on_its_own() {
        let path = std::env::temp_dir().join(format!("parrot-log-cut-{}", std::process::id()));
        let mut sink = Sink::open(&path).unwrap();
        assert_eq!(sink.write(b"first\nsecond, cu"), Ok(())); // as if an error had cut the second line
        assert_eq!(sink.write(b""), Ok(()));
        assert_eq!(sink.write(b"third\n"), Ok(()));
        assert_eq!(sink.write(b"fourth\n"), Ok(()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first\nsecond, cu\nthird\nfourth\n");
        std::fs::remove_file(&path).unwrap();
    }
}
