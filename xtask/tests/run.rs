//! `cargo xtask run` with a fake cargo, which only reports where it built the server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use parrot_testkit::program::run;

const CARGO: &str = r#"#!/bin/sh
echo "{\"reason\":\"compiler-artifact\",\"executable\":\"$CARGO_TARGET_DIR/release/parrot\"}"
"#;

const SERVER: &str = r#"#!/bin/sh
echo "process $$ was given: $*"
exit 7
"#;

fn script(path: PathBuf, text: &str) -> PathBuf {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn the_server_replaces_the_task_from_where_cargo_built_it() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("run.{}", std::process::id()));
    let cargo = script(folder.join("cargo"), CARGO);
    script(folder.join("elsewhere/release/parrot"), SERVER);

    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["run", "--", "--port", "0"]).env("CARGO", cargo).env("CARGO_TARGET_DIR", folder.join("elsewhere"));
    let task = command.stdout(Stdio::piped()).spawn().unwrap();
    let process = task.id();
    let output = task.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("process {process} was given: --port 0\n"));
    assert_eq!(output.status.code(), Some(7));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn arguments_without_the_separator_are_wrong_usage() {
    let ended = run(Command::new(env!("CARGO_BIN_EXE_xtask")).args(["run", "--port", "0"]));
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.ends_with("after `--`: cargo xtask run -- --port 0\n"), "{}", ended.stderr);
}
