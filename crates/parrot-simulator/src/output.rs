//! What the program says: its results on standard output, what is wrong with them on standard error.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, StdoutLock, Write};

/// Standard output, until its reader leaves: what is written then goes nowhere, and is no error.
///
/// Whoever has seen enough of a trace, as `head` has, closes the pipe. The exit code still tells the rest.
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

    /// Whether nobody reads any more.
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

/// Says this on standard error. `eprintln!` would panic when nobody reads it.
pub(crate) fn tell(what: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{what}");
}

/// A number as people read large ones: 1,234,567.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails each write in one way.
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
    fn large_numbers_are_grouped() {
        let shown = [0, 999, 1000, 1_234_567, u64::MAX].map(thousands);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567", "18,446,744,073,709,551,615"]);
    }

    #[test]
    fn a_reader_who_leaves_is_no_error() {
        let mut output = Output::new(Failing(ErrorKind::BrokenPipe));
        writeln!(output, "squawk").unwrap();
        assert!(output.reader_left());
        output.flush().unwrap();
    }

    #[test]
    fn a_full_disk_is_one() {
        let mut output = Output::new(Failing(ErrorKind::StorageFull));
        assert_eq!(writeln!(output, "squawk").unwrap_err().kind(), ErrorKind::StorageFull);
        assert!(!output.reader_left());
    }
}
