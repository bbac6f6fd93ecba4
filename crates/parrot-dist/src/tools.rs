//! The packages of Debian and of the distributions with RPM, by tools of their own.
//!
//! What is in these packages beside the files is in this crate's Cargo.toml.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::release::Release;
use crate::tree::{self, Entry};

/// A program that makes one kind of package.
pub(crate) struct Tool {
    /// Its name as a subcommand of cargo.
    subcommand: &'static str,
    arguments: &'static [&'static str],
    file_name: fn(version: &str) -> String,
}

pub(crate) const DEB: Tool = Tool {
    subcommand: "deb",
    arguments: &["--quiet", "--manifest-path", "crates/parrot-dist/Cargo.toml", "--no-build", "--no-strip"],
    file_name: |version| format!("parrot_{version}-1_{}.deb", crate::image::architecture()),
};

pub(crate) const RPM: Tool = Tool {
    subcommand: "generate-rpm",
    arguments: &["--package", "crates/parrot-dist", "--auto-req", "disabled"],
    file_name: |version| format!("parrot-{version}-1.{}.rpm", std::env::consts::ARCH),
};

impl Tool {
    /// The name of the package, as the distribution has it.
    pub(crate) fn file_name(&self, version: &str) -> String {
        (self.file_name)(version)
    }

    /// Why the package cannot be made, if it cannot.
    pub(crate) fn why_not(&self, release: &Release) -> Option<String> {
        if !release.is_static_linux {
            return Some("it needs programs for Linux without shared libraries".into());
        }
        let name = format!("cargo-{}", self.subcommand);
        let mut version = Command::new(&name);
        let started = version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        started.is_err().then(|| format!("{name} is not installed (cargo install {name})"))
    }

    /// Makes the package and returns it.
    pub(crate) fn pack(&self, release: &Release) -> Result<Vec<u8>> {
        stage(&tree::system(release)?)?;
        let output = tree::root().join("target/dist").join(self.file_name(release.version));
        let mut command = Command::new("cargo");
        command.current_dir(tree::root()).arg(self.subcommand).args(self.arguments).arg("--output").arg(&output);
        command.env("SOURCE_DATE_EPOCH", release.date.as_second().to_string()).stdout(Stdio::null());
        let status = command.status().context("cannot start cargo")?;
        ensure!(status.success(), "cargo {} failed ({status}); see its output above", self.subcommand);
        let package = fs::read(&output).with_context(|| format!("cannot read {}", output.display()))?;
        fs::remove_file(&output)?;
        Ok(package)
    }
}

/// Lays the files out where Cargo.toml tells the tools to find them.
fn stage(entries: &[Entry]) -> Result<()> {
    let stage = tree::root().join("target/dist/root");
    if stage.exists() {
        fs::remove_dir_all(&stage).with_context(|| format!("cannot clear {}", stage.display()))?;
    }
    for entry in entries {
        let path = stage.join(&entry.path);
        crate::write(&path, &entry.contents)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode()))?;
    }
    Ok(())
}
