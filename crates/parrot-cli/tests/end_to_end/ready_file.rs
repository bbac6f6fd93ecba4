//! The file of `--ready-file`: what it says, and how long it is there.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use parrot_testkit::client::{connect, echo, expect_end};
use parrot_testkit::process::Process;
use parrot_testkit::program::run;
use parrot_testkit::wait_until;
use rustix::process::Signal;

use crate::support::{LOOPBACK, parrot, scratch, skip, spawn};

fn with_file(path: &Path) -> std::process::Command {
    let mut command = parrot(&["--log", "off", "--drain-timeout", "1h", "--ready-file"]);
    command.arg(path);
    command
}

#[test]
fn the_ready_file_has_the_addresses_and_goes_at_the_end() {
    let path = scratch("ready.json");
    let parrot = spawn(&mut with_file(&path));
    let (pid, address) = (parrot.pid().as_raw_nonzero(), parrot.address());
    let expected = format!(
        "{{\"pid\":{pid},\"listeners\":[{{\"transport\":\"tcp\",\"address\":\"{address}\",\"host\":\"127.0.0.1\",\
         \"port\":{}}}]}}\n",
        address.port()
    );
    // It is there before the banner.
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    let beside = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
    let name = format!(".{}", path.file_name().unwrap().display());
    assert!(!beside.into_iter().any(|other| other.to_string_lossy().starts_with(&name)), "a file was left behind");
    echo(&parrot.connect(), b"squawk");
    parrot.stop().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_second_signal_removes_the_ready_file_too() {
    let path = scratch("ready-second.json");
    let mut parrot = spawn(&mut with_file(&path));
    let stream = parrot.connect();
    echo(&stream, b"squawk");
    parrot.signal(Signal::TERM).unwrap();
    expect_end(&stream);
    assert!(path.exists(), "it is there for as long as the server");
    parrot.signal(Signal::TERM).unwrap();
    assert_eq!(parrot.wait().unwrap().code(), Some(143));
    assert!(!path.exists());
}

#[test]
fn a_script_learns_the_port_from_the_ready_file() {
    let path = scratch("ready-quiet.json");
    // With -qq the file is the only way.
    let _parrot = Process::spawn(with_file(&path).arg("-qq")).unwrap();
    wait_until("the file is there", || path.exists());
    let json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let port = json["listeners"][0]["port"].as_u64().unwrap();
    echo(&connect(([127, 0, 0, 1], u16::try_from(port).unwrap()).into()), b"squawk");
}

#[test]
fn the_ready_file_of_a_successor_stays() {
    let path = scratch("ready-successor.json");
    let first = spawn(&mut with_file(&path));
    let second = spawn(&mut with_file(&path));
    first.stop().unwrap();
    let pid = second.pid().as_raw_nonzero();
    assert!(fs::read_to_string(&path).unwrap().contains(&format!("{{\"pid\":{pid},")));
    second.stop().unwrap();
    assert!(!path.exists());
}

/// A start that fails, because another socket has the port.
fn fail(ready_file: &Path) {
    let taken = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let ended = run(with_file(ready_file).args(["--port", &taken.local_addr().unwrap().port().to_string()]));
    assert!(ended.code == Some(1) && ended.stderr.contains("is taken"), "{ended:?}");
}

#[test]
fn a_failed_start_removes_the_file_of_a_killed_server() {
    if cfg!(target_os = "dragonfly") {
        return skip("std has no file locks on this system");
    }
    let path = scratch("ready-killed.json");
    let mut killed = spawn(&mut with_file(&path));
    killed.signal(Signal::KILL).unwrap();
    killed.wait().unwrap();
    assert!(path.exists(), "what a killed server leaves behind");
    fail(&path);
    assert!(!path.exists());
}

#[test]
fn a_failed_start_leaves_the_files_of_others() {
    let path = scratch("ready-alive.json");
    let alive = spawn(&mut with_file(&path));
    let before = fs::read_to_string(&path).unwrap();
    fail(&path);
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    alive.stop().unwrap();
    assert!(!path.exists());

    fs::write(&path, "precious").unwrap();
    fail(&path);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
}

#[test]
fn a_ready_file_that_cannot_be_written_ends_the_start() {
    let directory = scratch("no-such-directory").join("ready.json");
    let device = Path::new("/dev/null");
    for (path, reason) in
        [(directory.as_path(), "No such file"), (device, "not a regular file"), (Path::new(".."), "not a regular file")]
    {
        let ended = run(&mut with_file(path));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        for words in [&format!("cannot write {}", path.display()), reason, "another file with --ready-file"] {
            assert!(ended.stderr.contains(words), "no {words:?} in: {}", ended.stderr);
        }
        assert!(!ended.stderr.contains("listening on"), "{}", ended.stderr);
    }
    if fs::symlink_metadata(device).unwrap().is_file() {
        skip("this machine's /dev/null is a file");
    }
}
