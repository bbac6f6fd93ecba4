//! The file of `--hdr`.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::Report;

/// A file that is to receive a percentile distribution.
#[derive(Debug)]
pub(super) struct Distribution {
    file: File,
    path: PathBuf,
}

impl Distribution {
    /// Opens the file before the run, so that a mistake in the path does not cost the measurement. It keeps its contents
    /// until there are latencies to replace them.
    ///
    /// # Errors
    ///
    /// If it cannot be written to.
    pub(super) fn open(path: &Path) -> anyhow::Result<Distribution> {
        let file = File::options().write(true).create(true).truncate(false).open(path);
        Ok(Distribution { file: file.with_context(|| refused(path))?, path: path.to_owned() })
    }

    /// Writes the latencies of a report.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub(super) fn write(mut self, report: &Report) -> anyhow::Result<()> {
        // A pipe or a device has no length.
        if self.file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            self.file.set_len(0).with_context(|| refused(&self.path))?;
        }
        let text = report.histograms.latency.to_hgrm();
        self.file.write_all(text.as_bytes()).with_context(|| refused(&self.path))
    }
}

fn refused(path: &Path) -> String {
    format!("cannot write the latencies to {}", path.display())
}
