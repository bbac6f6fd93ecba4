//! Writes every package that can be made here, and says which cannot.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::release::Release;
use crate::{archive, image, say, tools, tree};

/// Writes the packages of `release` and their checksums to `output`.
pub(crate) fn write(release: &Release, output: &Path) -> Result<()> {
    fs::create_dir_all(output).with_context(|| format!("cannot make {}", output.display()))?;
    let output = output.canonicalize()?;
    let mut written = Vec::new();
    let mut keep = |name: String, contents: Vec<u8>| -> Result<()> {
        let path = output.join(&name);
        fs::write(&path, &contents).with_context(|| format!("cannot write {}", path.display()))?;
        say(path.display())?;
        written.push((image::hex(&contents), name));
        Ok(())
    };
    let (version, platform) = (release.version, release.platform());

    let name = format!("parrot-{version}-{platform}");
    let files = tree::tarball(release)?;
    keep(format!("{name}.tar.gz"), archive::gzip(&archive::tar(&name, &files, release.date)?)?)?;

    let name = format!("{name}-oci.tar");
    if release.is_static_linux {
        keep(name, archive::tar("", &image::layout(release)?, release.date)?)?;
    } else {
        skipped(&name, "an image needs programs for Linux without shared libraries");
    }

    for tool in [&tools::DEB, &tools::RPM] {
        let name = tool.file_name(version);
        match tool.why_not(release) {
            Some(reason) => skipped(&name, &reason),
            None => keep(name, tool.pack(release)?)?,
        }
    }

    let mut sums: Vec<String> = written.into_iter().map(|(sum, name)| format!("{sum}  {name}\n")).collect();
    sums.sort();
    let path = output.join("SHA256SUMS");
    fs::write(&path, sums.concat()).with_context(|| format!("cannot write {}", path.display()))?;
    say(path.display())
}

fn skipped(name: &str, reason: &str) {
    crate::warn(format_args!("skipped: {name}, because {reason}"));
}
