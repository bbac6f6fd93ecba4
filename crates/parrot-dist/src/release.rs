//! What is packed: the programs, what they run on, and the time that everything bears.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;

use crate::epoch;

/// The programs of a version for one system.
pub(crate) struct Release {
    pub version: &'static str,
    pub date: Timestamp,
    /// Names and contents.
    pub programs: Vec<(String, Vec<u8>)>,
    /// Whether every program runs on Linux without a file beside it.
    pub is_static_linux: bool,
}

impl Release {
    /// Reads the programs at `paths`.
    pub(crate) fn read(paths: &[impl AsRef<Path>]) -> Result<Release> {
        let mut programs = Vec::new();
        for path in paths.iter().map(AsRef::as_ref) {
            let name = path.file_name().and_then(|name| name.to_str()).context("a program needs a name")?;
            let contents = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            programs.push((name.to_owned(), contents));
        }
        let is_static_linux =
            cfg!(target_os = "linux") && programs.iter().all(|(_, contents)| !names_an_interpreter(contents));
        let date = epoch::source_date()?;
        Ok(Release { version: env!("CARGO_PKG_VERSION"), date, programs, is_static_linux })
    }

    /// The program called `name`.
    pub(crate) fn program(&self, name: &str) -> Result<&[u8]> {
        let program = self.programs.iter().find(|program| program.0 == name);
        program.map(|(_, contents)| contents.as_slice()).with_context(|| format!("there is no program {name}"))
    }

    /// The day of the release, as manual pages have it.
    pub(crate) fn day(&self) -> String {
        self.date.strftime("%Y-%m-%d").to_string()
    }

    /// The processor and the system, as in the names of files.
    pub(crate) fn platform(&self) -> String {
        format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
    }
}

/// Whether a program in the format ELF has to be started by a dynamic linker: elf(5), `PT_INTERP`.
///
/// What is no such program needs something that is not known here.
fn names_an_interpreter(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let is_little_elf_64 = elf.starts_with(b"\x7fELF\x02\x01");
    let headers = || {
        let offset = u64::from_le_bytes(elf.get(32..40)?.try_into().ok()?) as usize;
        let size = usize::from(u16::from_le_bytes(elf.get(54..56)?.try_into().ok()?));
        let count = usize::from(u16::from_le_bytes(elf.get(56..58)?.try_into().ok()?));
        let header = |index: usize| elf.get(offset + index * size..)?.first_chunk().copied().map(u32::from_le_bytes);
        (0..count).map(header).collect::<Option<Vec<u32>>>()
    };
    !is_little_elf_64 || headers().is_none_or(|types| types.contains(&PT_INTERP))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_shared_libraries_names_an_interpreter() {
        // Cargo links tests dynamically on Linux.
        if cfg!(all(target_os = "linux", target_env = "gnu", not(target_feature = "crt-static"))) {
            assert!(names_an_interpreter(&fs::read(std::env::current_exe().unwrap()).unwrap()));
        }
        assert!(names_an_interpreter(b"#!/bin/sh"));
    }

    #[test]
    fn a_program_without_one_is_static() {
        let mut elf = vec![0; 64 + 2 * 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (elf[32], elf[54], elf[56]) = (64, 56, 2);
        (elf[64], elf[64 + 56]) = (1, 4);
        assert!(!names_an_interpreter(&elf));
        elf[64 + 56] = 3;
        assert!(names_an_interpreter(&elf));
    }
}
