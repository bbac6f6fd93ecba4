//! Manual pages are clean, and shells load the completions. A tool that is not installed is a reason to skip.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use support::run;

/// What `cargo xtask man` writes.
fn written() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_parrot-dist"));
    let status = command.arg("man").arg(directory.path()).status().unwrap();
    assert!(status.success());
    directory
}

/// What `tool` prints, on both outputs, or nothing if it is not installed.
fn printed(tool: &str, arguments: &[&str]) -> Option<String> {
    run(tool, arguments).map(support::printed)
}

#[test]
fn mandoc_has_nothing_to_say_about_the_pages() {
    let directory = written();
    for program in ["parrot", "parrot-load"] {
        let page = directory.path().join(format!("man/man1/{program}.1"));
        if let Some(printed) = printed("mandoc", &["-T", "lint", &page.display().to_string()]) {
            assert_eq!(printed, "", "{program}");
        }
    }
}

#[test]
fn the_page_of_the_server_has_every_section() {
    let directory = written();
    let page = fs::read_to_string(directory.path().join("man/man1/parrot.1")).unwrap();
    let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
    let expected = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SIGNALS", "\"EXIT STATUS\"", "ENVIRONMENT", "FILES"];
    assert_eq!(sections[..expected.len()], expected);
    assert_eq!(sections[expected.len()..], ["EXAMPLES", "\"SEE ALSO\""]);
    assert!(page.contains(".SS \"Where to listen\""), "{page}");
}

#[test]
fn bash_completes_options_and_values() {
    let directory = written();
    let script = directory.path().join("bash-completion/completions/parrot");
    let complete = |previous: &str, word: &str| {
        let line = format!(
            "source '{}' && COMP_WORDS=(parrot {previous} {word}) && COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)) && \
             _parrot parrot '{word}' '{previous}' && echo \"${{COMPREPLY[@]}}\"",
            script.display()
        );
        printed("bash", &["--norc", "-c", &line])
    };
    if let (Some(option), Some(value)) = (complete("parrot", "--lis"), complete("--log", "j")) {
        assert_eq!((option.trim(), value.trim()), ("--listen", "json"));
    }
}

#[test]
fn zsh_loads_the_completions() {
    let directory = written();
    let functions = directory.path().join("zsh/site-functions");
    let line = format!(
        "fpath=('{}' $fpath); autoload -Uz compinit; compinit -u -D; print $_comps[parrot] $_comps[parrot-load]; \
         autoload -Uz +X _parrot _parrot-load",
        functions.display()
    );
    if let Some(printed) = printed("zsh", &["-f", "-c", &line]) {
        assert_eq!(printed.trim(), "_parrot _parrot-load");
    }
}

#[test]
fn fish_completes_options_and_values() {
    let directory = written();
    let complete = |program: &str, line: &str| {
        let script = directory.path().join(format!("fish/vendor_completions.d/{program}.fish"));
        let line = format!("source '{}'; complete --do-complete '{line}'", script.display());
        fish(directory.path(), &line)
    };
    if let (Some(option), Some(value)) =
        (complete("parrot", "parrot --lis"), complete("parrot-load", "parrot-load --close r"))
    {
        assert!(option.starts_with("--listen\tListen on tcp:HOST:PORT"), "{option}");
        assert_eq!(value.trim(), "reset");
    }
}

/// fish writes to its home directory.
fn fish(home: &Path, line: &str) -> Option<String> {
    let home = format!("HOME={}", home.display());
    printed("fish", &["--version"])?;
    printed("env", &["-u", "XDG_CONFIG_HOME", &home, "fish", "--no-config", "-c", line])
}
