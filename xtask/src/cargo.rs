//! Calls cargo on this workspace, whatever the current directory is.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// How the linker finds the [order](crate::order) of functions. Cargo starts rustc in the root of the workspace.
const ORDER: &str = "-Clink-arg=xtask/order.ld";

/// A cargo command on this workspace.
///
/// It runs in the current directory, so that a relative `CARGO_TARGET_DIR` means the same as for the cargo that started
/// xtask.
pub(crate) fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(subcommand).arg("--manifest-path").arg(root().join("Cargo.toml"));
    command
}

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Runs `cargo build` with `arguments` and returns the programs that it built.
///
/// Cargo reports their paths, so `CARGO_TARGET_DIR`, configuration files and other targets are honoured.
pub(crate) fn build(arguments: &[&str]) -> Result<Vec<PathBuf>> {
    let mut command = cargo("build");
    command.args(arguments).arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = command.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("{} failed ({})", shown(&command), output.status);
    }
    let messages = String::from_utf8(output.stdout).context("cargo's messages are not UTF-8")?;
    messages.lines().filter_map(|line| executable(line).transpose()).collect()
}

/// Builds the release programs of one package, without shared libraries where that is possible.
///
/// Every task builds packages this way, one per command. Packages built together can enable other features in their
/// dependencies, which would then be built again.
pub(crate) fn release(package: &str) -> Result<Vec<PathBuf>> {
    release_with(package, &[])
}

/// Like [`release`], with further `arguments` for cargo.
pub(crate) fn release_with(package: &str, arguments: &[&str]) -> Result<Vec<PathBuf>> {
    let linking = static_linking();
    let linking = linking.iter().map(String::as_str).chain(arguments.iter().copied());
    let arguments: Vec<&str> = ["--release", "--package", package, "--bins"].into_iter().chain(linking).collect();
    build(&arguments)
}

/// Options that link the C library into a program, which then runs on any Linux of the same processor.
///
/// It also takes less memory. Linux counts 1.6 MiB of the shared libraries to every process, and Parrot needs a third of
/// that.
///
/// There are none on other systems, with other C libraries, or where the archive of the C library is not installed. The
/// target and the flags that somebody has chosen stay theirs.
fn static_linking() -> Vec<String> {
    let chosen = ["CARGO_BUILD_TARGET", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS"];
    if chosen.iter().any(|name| env::var_os(name).is_some()) {
        return Vec::new();
    }
    let Some(target) = archive().and_then(|_| host()) else { return Vec::new() };
    let mut flags = vec!["-Ctarget-feature=+crt-static", "-Clink-arg=-T", ORDER];
    if reads_packed_relocations() {
        flags.push("-Clink-arg=-Wl,-z,pack-relative-relocs");
    }
    // With a target, the flags are not for macros and build scripts, which cannot be linked like this.
    let flags = format!("target.{target}.rustflags={flags:?}");
    ["--target".to_owned(), target, "--config".to_owned(), flags].into()
}

/// The target that programs for this machine have.
pub(crate) fn host() -> Option<String> {
    output("rustc", &["--print", "host-tuple"])
}

/// The archive of the C library, if this is Linux with glibc and the archive is installed.
pub(crate) fn archive() -> Option<PathBuf> {
    let path = output("cc", &["-print-file-name=libc.a"]).map(PathBuf::from);
    path.filter(|path| cfg!(all(target_os = "linux", target_env = "gnu")) && path.is_absolute())
}

/// Whether a static program can relocate itself from the packed form of relocations, which saves 110 KiB that every
/// start reads. glibc knows it from version 2.36 on.
fn reads_packed_relocations() -> bool {
    let version = output("getconf", &["GNU_LIBC_VERSION"]); // glibc 2.36
    let version = version.as_deref().and_then(|version| version.strip_prefix("glibc 2."));
    version.and_then(|minor| minor.parse().ok()).is_some_and(|minor: u32| minor >= 36)
}

/// What a program prints, if it succeeds.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    Some(text.trim().to_owned())
}

/// The program that a line of cargo's messages reports, if there is one.
fn executable(line: &str) -> Result<Option<PathBuf>> {
    let message: Value =
        serde_json::from_str(line).with_context(|| format!("cannot parse this message of cargo: {line}"))?;
    let artifact = message["reason"] == "compiler-artifact";
    Ok(message["executable"].as_str().filter(|_| artifact).map(PathBuf::from))
}

/// The output of `cargo metadata` with `arguments`.
pub(crate) fn metadata(arguments: &[&str]) -> Result<Value> {
    let mut command = cargo("metadata");
    command.args(["--format-version", "1"]).args(arguments).stderr(Stdio::inherit());
    let output = command.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("{} failed ({})", shown(&command), output.status);
    }
    serde_json::from_slice(&output.stdout).context("cannot parse the output of cargo metadata")
}

/// A command as a person would type it, without its manifest path.
pub(crate) fn shown(command: &Command) -> String {
    let mut words = vec![OsString::from("cargo")];
    let mut arguments = command.get_args();
    while let Some(argument) = arguments.next() {
        if argument == "--manifest-path" {
            arguments.next();
        } else {
            words.push(argument.to_owned());
        }
    }
    words.join(" ".as_ref()).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_with_an_executable_is_a_program() {
        let program = r#"{"reason":"compiler-artifact","executable":"/target/release/parrot"}"#;
        assert_eq!(executable(program).unwrap(), Some("/target/release/parrot".into()));
        let library = r#"{"reason":"compiler-artifact","executable":null}"#;
        assert_eq!(executable(library).unwrap(), None);
        let finished = r#"{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(finished).unwrap(), None);
        assert!(executable("Compiling parrot").is_err());
    }

    #[test]
    fn a_command_is_shown_as_a_person_would_type_it() {
        let mut command = cargo("test");
        command.arg("--workspace");
        assert_eq!(shown(&command), "cargo test --workspace");
    }
}
