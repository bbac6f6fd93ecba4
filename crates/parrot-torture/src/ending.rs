//! How the server ended: its summary, what its log holds, and whether the two add up.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use parrot_testkit::parrot::number;

/// How the server ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// The last line on stderr.
    pub(crate) summary: String,
    /// What the log holds, where it can be read.
    pub(crate) held: Option<Held>,
}

/// What a log holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Lines of messages.
    lines: u64,
    /// Messages without a line, by the lines that report gaps.
    missing: u64,
}

impl Ending {
    /// Demands that there were messages, that each was written or counted as dropped, and that the log, where it can be
    /// read, holds the lines that were written. Returns the figures.
    pub(crate) fn add_up(&self) -> Result<String> {
        let (messages, written, dropped) = (self.number("messages"), self.written(), self.dropped());
        ensure!(messages > 0 && messages == written + dropped, "the log does not add up: {}", self.summary);
        if let Some(Held { lines, missing }) = self.held {
            // A gap that was still open when a write failed at the end is in the summary only.
            ensure!(
                lines == written && missing <= dropped,
                "the log holds {lines} lines and reports {missing} dropped ones: {}",
                self.summary
            );
        }
        let found = if self.held.is_some() { " and found" } else { "" };
        Ok(format!("{written} messages written{found}, {dropped} dropped, {} write errors", self.write_errors()))
    }

    /// Demands that the gaps in the log report every message that was dropped.
    pub(crate) fn reports_all_gaps(&self) -> Result<()> {
        let missing = self.held.map(|held| held.missing);
        ensure!(missing == Some(self.dropped()), "the log reports {missing:?} dropped messages: {}", self.summary);
        Ok(())
    }

    pub(crate) fn written(&self) -> u64 {
        self.number("log lines written")
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.number("dropped")
    }

    pub(crate) fn write_errors(&self) -> u64 {
        self.number("write errors")
    }

    /// The number before these words in the summary, or 0.
    fn number(&self, words: &str) -> u64 {
        number(&self.summary, words).unwrap_or_default()
    }
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
                    held.missing += count.context("a gap has a number of lines")?.parse::<u64>()?;
                }
                None => held.lines += 1,
            }
            line.clear();
        }
        Ok(held)
    }

    /// Reads a log file and those beside it that were the log before, and removes them, because a soak leaves a
    /// gigabyte.
    pub(crate) fn take(log: &Path) -> Result<Held> {
        let folder = log.parent().context("a log is in a folder")?;
        let mut all = Held::default();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let shown = || format!("the log {}", path.display());
                let held = Held::count(BufReader::new(File::open(&path).with_context(shown)?)).with_context(shown)?;
                all.lines += held.lines;
                all.missing += held.missing;
                std::fs::remove_file(&path).with_context(shown)?;
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: &str = "9 messages, 80 bytes in; 7 log lines written, 2 dropped, 1 write errors";

    fn ending(numbers: &str) -> Ending {
        Ending { summary: format!("INFO drained: 0 connections open, {numbers}"), held: None }
    }

    #[test]
    fn a_log_adds_up_if_all_is_written_or_counted_as_dropped() {
        assert_eq!(ending(NUMBERS).add_up().unwrap(), "7 messages written, 2 dropped, 1 write errors");
    }

    #[test]
    fn a_log_with_more_or_fewer_lines_than_written_is_refused() {
        let ending = |lines, missing| Ending { held: Some(Held { lines, missing }), ..ending(NUMBERS) };
        assert!(ending(7, 2).add_up().is_ok() && ending(7, 0).add_up().is_ok());
        assert!(ending(6, 2).add_up().is_err() && ending(8, 2).add_up().is_err() && ending(7, 3).add_up().is_err());
        assert!(ending(7, 2).reports_all_gaps().is_ok() && ending(7, 1).reports_all_gaps().is_err());
    }

    #[test]
    fn counters_that_do_not_match_the_messages_are_refused() {
        for numbers in [
            "9 messages, 80 bytes in; 7 log lines written, 1 dropped, 0 write errors",
            "9 messages, 80 bytes in; 9 log lines written, 1 dropped, 0 write errors",
            "0 messages, 0 bytes in; 0 log lines written, 0 dropped, 0 write errors",
            "9 messages, 80 bytes in",
        ] {
            assert!(ending(numbers).add_up().is_err(), "{numbers}");
        }
    }

    #[test]
    fn lines_and_the_dropped_lines_of_gaps_are_counted() {
        let log =
            "127.0.0.1:1 - - [t] \"a\" 1 1\n- dropped - [t] \"17 lines dropped\" -\n127.0.0.1:1 - - [t] \"b\" 1 1\n";
        assert_eq!(Held::count(log.as_bytes()).unwrap(), Held { lines: 2, missing: 17 });
    }

    #[test]
    fn a_log_that_ends_in_the_middle_of_a_line_is_refused() {
        assert!(Held::count(&b"127.0.0.1:1 - - [t] \"a"[..]).is_err());
    }
}
