//! What `parrot-dist packages` writes, with scripts in place of the programs. Only a tarball can be made of those.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{printed, run};
use tempfile::TempDir;

/// The packages of two scripts, and what is said about the others.
fn packages() -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let programs = ["parrot", "parrot-load"].map(|name| directory.path().join(name));
    for program in &programs {
        fs::write(program, "#!/bin/sh\n").unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_parrot-dist"));
    command.env("SOURCE_DATE_EPOCH", "1000000000");
    let output = command.arg("packages").arg("--output").arg(directory.path().join("dist")).args(programs).output();
    let said = printed(output.unwrap());
    (directory, said)
}

fn tarball(directory: &TempDir) -> std::path::PathBuf {
    let files = fs::read_dir(directory.path().join("dist")).unwrap();
    let mut paths = files.map(|file| file.unwrap().path());
    paths.find(|path| path.extension().is_some_and(|extension| extension == "gz")).unwrap()
}

#[test]
fn packages_that_cannot_be_made_are_named_with_a_reason() {
    let (_directory, said) = packages();
    for name in ["-oci.tar", ".deb", ".rpm"] {
        let is_named =
            |line: &str| line.starts_with("skipped: parrot") && line.contains(name) && line.contains(", because ");
        assert!(said.lines().any(is_named), "{name}: {said}");
    }
}

#[test]
fn two_runs_give_the_same_bytes() {
    let (one, other) = (packages().0, packages().0);
    assert_eq!(fs::read(tarball(&one)).unwrap(), fs::read(tarball(&other)).unwrap());
}

#[test]
fn the_checksums_are_those_of_the_files() {
    let (directory, _) = packages();
    let list = directory.path().join("dist");
    if let Some(output) = run("sh", &["-c", &format!("cd '{}' && sha256sum -c SHA256SUMS", list.display())]) {
        if String::from_utf8_lossy(&output.stderr).contains("not found") {
            eprintln!("SKIPPED: sha256sum is not installed");
            return;
        }
        assert_eq!(printed(output).lines().count(), 1);
    }
}

#[test]
fn the_tarball_has_programs_manuals_and_units_in_a_directory() {
    let (directory, _) = packages();
    let unpacked = directory.path().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let (archive, into) = (tarball(&directory), unpacked.display().to_string());
    printed(run("tar", &["-xzf", &archive.display().to_string(), "-C", &into]).unwrap());
    let root = fs::read_dir(&unpacked).unwrap().next().unwrap().unwrap().path();
    for path in [
        "bin/parrot",
        "share/man/man1/parrot.1",
        "packaging/systemd/parrot.service",
        "LICENSE-MIT",
        "docs/operating.md",
    ] {
        assert!(Path::new(&root).join(path).is_file(), "{path}");
    }
    // The book of operation leads to no file that is missing.
    let operating = fs::read_to_string(root.join("docs/operating.md")).unwrap();
    for link in operating.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
        let is_here = link.is_empty() || link.starts_with("http") || root.join("docs").join(link).is_file();
        assert!(is_here, "{link}");
    }
}
