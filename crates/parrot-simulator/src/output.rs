//! The output of the program: results on standard output, failures on standard error.

use std::fmt::Display;
use std::io::{self, ErrorKind, StdoutLock, Write};

/// Standard output. Once its reader has left, as `head` does, writes go nowhere and are no error, so that the exit code
/// still shows the result.
pub(crate) struct Output<W> {
    to: W,
    reader_left: bool,
}

impl Output<StdoutLock<'_>> {
    pub(crate) fn standard() -> Self {
        Output::new(io::stdout().lock())
    }
}

impl<W: Write> Output<W> {
    fn new(to: W) -> Output<W> {
        Output { to, reader_left: false }
    }

    /// Whether the reader has left.
    pub(crate) fn reader_left(&self) -> bool {
        self.reader_left
    }

    fn unless_left<T>(&mut self, otherwise: T, write: impl FnOnce(&mut W) -> io::Result<T>) -> io::Result<T> {
        if self.reader_left {
            return Ok(otherwise);
        }
        match write(&mut self.to) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.reader_left = true;
                Ok(otherwise)
            }
            written => written,
        }
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_left(bytes.len(), |to| to.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_left((), Write::flush)
    }
}

/// Writes a line to standard error. `eprintln!` would panic once nobody reads it.
pub(crate) fn warn(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails each write with the same kind of error.
    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn reader_that_leaves_is_no_error() {
        let mut output = Output::new(Failing(ErrorKind::BrokenPipe));
        writeln!(output, "squawk").unwrap();
        assert!(output.reader_left());
        output.flush().unwrap();
    }

    #[test]
    fn full_disk_is_an_error() {
        let mut output = Output::new(Failing(ErrorKind::StorageFull));
        assert_eq!(writeln!(output, "squawk").unwrap_err().kind(), ErrorKind::StorageFull);
        assert!(!output.reader_left());
    }
}
