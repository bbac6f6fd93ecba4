//! Archives whose bytes depend on nothing but the files in them and the time of the release.

use std::io::Write as _;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use jiff::Timestamp;
use tar::{Builder, EntryType, Header};

use crate::tree::Entry;

/// A tar archive of `entries` below `directory`, which may be empty. Every directory has an entry of its own.
pub(crate) fn tar(directory: &str, entries: &[Entry], date: Timestamp) -> Result<Vec<u8>> {
    let seconds = u64::try_from(date.as_second()).context("the time of the release is before 1970")?;
    let mut archive = Builder::new(Vec::new());
    let mut made: Vec<String> = Vec::new();
    for entry in entries {
        let path = if directory.is_empty() { entry.path.clone() } else { format!("{directory}/{}", entry.path) };
        for (end, _) in path.match_indices('/') {
            let parent = path.get(..=end).unwrap_or_default();
            if !made.iter().any(|made| made == parent) {
                append(&mut archive, EntryType::Directory, parent, 0o755, seconds, &[])?;
                made.push(parent.to_owned());
            }
        }
        append(&mut archive, EntryType::Regular, &path, entry.mode(), seconds, &entry.contents)?;
    }
    Ok(archive.into_inner()?)
}

/// Adds an entry that belongs to root.
fn append(
    archive: &mut Builder<Vec<u8>>,
    kind: EntryType,
    path: &str,
    mode: u32,
    seconds: u64,
    contents: &[u8],
) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(seconds);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(contents.len() as u64);
    archive.append_data(&mut header, path, contents).with_context(|| format!("cannot pack {path}"))
}

/// `bytes` as gzip, without a name and a time.
pub(crate) fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}
