//! The files of `--hdr`, `--chart` and `--report`.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// A file that is to receive what was measured.
#[derive(Debug)]
pub(super) struct OutputFile {
    file: File,
    path: PathBuf,
    /// What it receives, for an error.
    what: &'static str,
}

impl OutputFile {
    /// Opens the file before the run, so that a mistake in the path does not cost the measurement. It keeps its contents
    /// until there are others to replace them.
    ///
    /// # Errors
    ///
    /// If it cannot be written to.
    pub(super) fn open(path: &Path, what: &'static str) -> anyhow::Result<OutputFile> {
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let file = file.with_context(|| format!("cannot write {what} to {}", path.display()))?;
        Ok(OutputFile { file, path: path.to_owned(), what })
    }

    /// Replaces its contents.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub(super) fn write(mut self, text: &str) -> anyhow::Result<()> {
        // A pipe or a device has no length.
        let is_file = self.file.metadata().is_ok_and(|metadata| metadata.is_file());
        let emptied = if is_file { self.file.set_len(0) } else { Ok(()) };
        let written = emptied.and_then(|()| self.file.write_all(text.as_bytes()));
        written.with_context(|| format!("cannot write {} to {}", self.what, self.path.display()))
    }
}
