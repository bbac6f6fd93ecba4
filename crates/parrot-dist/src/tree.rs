//! Which files a package has, where, and with which permissions.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::release::Release;
use crate::{completions, manual};

/// A file of a package.
pub(crate) struct Entry {
    /// Where it is, below the root of the package.
    pub path: String,
    /// Whether it is a program, which anyone may run. Anyone may read the others.
    pub is_program: bool,
    pub contents: Vec<u8>,
}

impl Entry {
    pub(crate) fn new(path: impl Into<String>, contents: impl Into<Vec<u8>>) -> Entry {
        Entry { path: path.into(), is_program: false, contents: contents.into() }
    }

    pub(crate) fn program(path: impl Into<String>, contents: impl Into<Vec<u8>>) -> Entry {
        Entry { is_program: true, ..Entry::new(path, contents) }
    }

    /// A file of the workspace.
    pub(crate) fn file(path: impl Into<String>, source: &str) -> Result<Entry> {
        let source = root().join(source);
        Ok(Entry::new(path, fs::read(&source).with_context(|| format!("cannot read {}", source.display()))?))
    }

    pub(crate) fn mode(&self) -> u32 {
        if self.is_program { 0o755 } else { 0o644 }
    }
}

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
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

/// What the tarball has below its one directory. `bin` and `share` can be copied to /usr/local.
pub(crate) fn tarball(release: &Release) -> Result<Vec<Entry>> {
    let mut entries = programs_and_manuals(release, "")?;
    for name in ["README.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        entries.push(Entry::file(name, name)?);
    }
    for path in files_below("docs")? {
        entries.push(Entry::file(path.as_str(), &path)?);
    }
    for path in files_below("packaging")? {
        // For the makers of packages, not for their users.
        if !path.starts_with("packaging/debian/") {
            entries.push(Entry::file(path.as_str(), &path)?);
        }
    }
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(entries)
}

/// What the tarball and the Linux packages both have, below `prefix`.
fn programs_and_manuals(release: &Release, prefix: &str) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (name, contents) in &release.programs {
        entries.push(Entry::program(format!("{prefix}bin/{name}"), contents.as_slice()));
    }
    for entry in manuals(&release.day())? {
        entries.push(Entry { path: format!("{prefix}share/{}", entry.path), ..entry });
    }
    Ok(entries)
}

/// What the Linux packages have, from the root of the system on.
pub(crate) fn system(release: &Release) -> Result<Vec<Entry>> {
    let mut entries = programs_and_manuals(release, "usr/")?;
    for unit in ["parrot.service", "parrot.socket", "parrot@.service", "parrot@.socket"] {
        let source = format!("packaging/systemd/{unit}");
        entries.push(Entry::file(format!("usr/lib/systemd/system/{unit}"), &source)?);
    }
    for (path, source) in [
        ("etc/parrot/parrot.toml", "packaging/parrot.toml"),
        ("etc/logrotate.d/parrot", "packaging/logrotate/parrot"),
        ("usr/share/licenses/parrot/LICENSE-APACHE", "LICENSE-APACHE"),
        ("usr/share/licenses/parrot/LICENSE-MIT", "LICENSE-MIT"),
        ("usr/share/doc/parrot/README.md", "README.md"),
        ("usr/share/doc/parrot/examples/port-7.conf", "packaging/systemd/port-7.conf"),
    ] {
        entries.push(Entry::file(path, source)?);
    }
    // operating.md has links to others.
    for path in files_below("docs")? {
        let name = path.trim_start_matches("docs/");
        entries.push(Entry::file(format!("usr/share/doc/parrot/{name}"), &path)?);
    }
    for directory in ["packaging/kubernetes", "packaging/prometheus"] {
        for path in files_below(directory)? {
            let name = path.trim_start_matches("packaging/");
            entries.push(Entry::file(format!("usr/share/doc/parrot/examples/{name}"), &path)?);
        }
    }
    Ok(entries)
}

/// The files below a directory of the workspace, in order.
fn files_below(directory: &str) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    let path = root().join(directory);
    let mut children: Vec<PathBuf> = fs::read_dir(&path)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .with_context(|| format!("cannot list {}", path.display()))?;
    children.sort();
    for child in children {
        let name = child.file_name().and_then(|name| name.to_str()).context("a name of a file is not UTF-8")?;
        let path = format!("{directory}/{name}");
        if child.is_dir() {
            paths.extend(files_below(&path)?);
        } else {
            paths.push(path);
        }
    }
    Ok(paths)
}
