//! What a log holds, counted line by line.

use std::io::BufRead;
use std::ops::AddAssign;

use anyhow::{Context as _, Result, ensure};

/// Lines in a log, and how many it says are missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Lines of messages.
    pub(crate) lines: u64,
    /// Messages without a line, by the lines that stand for them.
    pub(crate) missing: u64,
}

impl Held {
    /// Reads a log of whole lines to its end.
    pub(crate) fn count(mut log: impl BufRead) -> Result<Held> {
        let mut held = Held::default();
        let mut line = Vec::new();
        while log.read_until(b'\n', &mut line)? > 0 {
            ensure!(line.ends_with(b"\n"), "ends in the middle of a line: {}", String::from_utf8_lossy(&line));
            match line.strip_prefix(b"- dropped - ") {
                Some(gap) => {
                    // - dropped - [02/Jan/2006:15:04:05 -0700] "17 lines dropped" -
                    let gap = String::from_utf8_lossy(gap);
                    let count = gap.split_once('"').and_then(|(_, rest)| rest.split_whitespace().next());
                    held.missing += count.context("a gap says how many are missing")?.parse::<u64>()?;
                }
                None => held.lines += 1,
            }
            line.clear();
        }
        Ok(held)
    }
}

impl AddAssign for Held {
    fn add_assign(&mut self, other: Held) {
        self.lines += other.lines;
        self.missing += other.missing;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_and_gaps_tell_of_those_that_are_missing() {
        let log =
            "127.0.0.1:1 - - [t] \"a\" 1 1\n- dropped - [t] \"17 lines dropped\" -\n127.0.0.1:1 - - [t] \"b\" 1 1\n";
        assert_eq!(Held::count(log.as_bytes()).unwrap(), Held { lines: 2, missing: 17 });
    }

    #[test]
    fn a_log_that_ends_in_the_middle_of_a_line_is_refused() {
        assert!(Held::count(&b"127.0.0.1:1 - - [t] \"a"[..]).is_err());
    }
}
