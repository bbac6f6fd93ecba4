//! Where a log goes, opened before the log is moved there.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use crate::sink::Sink;

/// An open place for a log. [`Writer::at`](crate::Writer::at) starts a log there, and
/// [`Writer::move_to`](crate::Writer::move_to) moves one there.
///
/// ```
/// use parrot_log::{Format, Target, Writer};
///
/// let directory = tempfile::tempdir()?;
/// let writer = Writer::file(directory.path().join("before.log"), Format::Clf)?;
/// // If this fails, the log goes on as it was.
/// writer.move_to(Target::file(directory.path().join("after.log"))?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Target(pub(crate) Sink);

impl Target {
    /// Standard output, as for [`Writer::stdout`](crate::Writer::stdout).
    ///
    /// # Errors
    ///
    /// Fails if the descriptor cannot be duplicated.
    pub fn stdout() -> io::Result<Target> {
        let descriptor = io::stdout().as_fd().try_clone_to_owned()?;
        Ok(Target(Sink::descriptor(File::from(descriptor), "stdout")))
    }

    /// The end of the file at `path`, as for [`Writer::file`](crate::Writer::file).
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be opened for appending. The kind is [`BrokenPipe`](io::ErrorKind::BrokenPipe) for a named
    /// pipe that no process has open for reading.
    pub fn file(path: impl AsRef<Path>) -> io::Result<Target> {
        Ok(Target(Sink::open(path.as_ref())?))
    }
}
