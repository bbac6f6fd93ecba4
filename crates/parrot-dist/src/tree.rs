//! Which files there are, and where.

use anyhow::Result;

use crate::{completions, manual};

/// A file, and where it is below the root of what is written.
pub(crate) struct Entry {
    pub path: String,
    pub contents: Vec<u8>,
}

impl Entry {
    pub(crate) fn new(path: impl Into<String>, contents: impl Into<Vec<u8>>) -> Entry {
        Entry { path: path.into(), contents: contents.into() }
    }
}

/// Manual pages and completions, below `share`.
pub(crate) fn manuals(date: &str) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (command, manual) in crate::programs() {
        let name = command.get_name().to_owned();
        entries.push(Entry::new(format!("man/man1/{name}.1"), manual::page(&command, &manual, date)?));
        for shell in completions::SHELLS {
            entries.push(Entry::new(completions::path(shell, &name), completions::script(shell, &command)));
        }
    }
    Ok(entries)
}
