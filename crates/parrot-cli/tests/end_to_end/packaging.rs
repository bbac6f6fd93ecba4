//! The options in the files of `packaging`, which the server has to accept.

use std::fs;
use std::process::Stdio;

use parrot_testkit::program::run;

use crate::support::{bare_parrot, scratch};

fn read(path: &str) -> String {
    let path = format!("{}/../../packaging/{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Whether parrot would start with these arguments.
#[track_caller]
fn accepts(arguments: &[&str]) {
    let ended = run(bare_parrot(arguments).arg("--check").stdout(Stdio::piped()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// The example file, with its directories where a test may write.
fn example() -> String {
    let text = read("parrot.toml");
    let directory = scratch("packaging");
    fs::create_dir_all(&directory).unwrap();
    ["/var/log/parrot/", "/run/parrot/"].iter().fold(text, |text, place| {
        assert!(text.contains(place), "{place}");
        text.replace(place, &format!("{}/", directory.display()))
    })
}

#[test]
fn the_example_file_is_accepted() {
    let path = scratch("example.toml");
    fs::write(&path, example()).unwrap();
    accepts(&["--config", &path.display().to_string()]);
}

#[test]
fn every_option_of_the_example_file_is_accepted() {
    let option = |line: &str| match line.strip_prefix('#') {
        Some(option) if option.starts_with(|first: char| first.is_ascii_lowercase()) => option.to_owned(),
        _ => line.to_owned(),
    };
    let all: Vec<String> = example().lines().map(option).collect();
    let is_left = |line: &&String| line.starts_with('#') && *line != "#" && !line.starts_with("# ");
    assert_eq!(all.iter().find(is_left), None);
    let path = scratch("everything.toml");
    fs::write(&path, all.join("\n")).unwrap();
    accepts(&["--config", &path.display().to_string()]);
}

#[test]
fn the_arguments_of_the_pods_are_accepted() {
    let deployment = read("kubernetes/deployment.yaml");
    let arguments: Vec<&str> = deployment.lines().filter_map(|line| line.trim().strip_prefix("- --")).collect();
    assert!(arguments.len() > 5, "{arguments:?}");
    let arguments: Vec<String> = arguments.iter().map(|argument| format!("--{argument}")).collect();
    accepts(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
}
