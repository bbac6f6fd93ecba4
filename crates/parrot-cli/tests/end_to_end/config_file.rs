//! Options from a file, and --check, which says whether the server would start.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use parrot_testkit::client::{echo, free_port};
use parrot_testkit::program::{Ended, run};

use crate::support::{LOOPBACK, bare_parrot, scratch, skip, spawn};

/// A file with these options.
fn file(text: &str) -> PathBuf {
    let path = scratch("parrot.toml");
    fs::write(&path, text).unwrap();
    path
}

/// The binary with the options of a file, and these.
fn with_file(path: &Path, arguments: &[&str]) -> Command {
    let mut command = bare_parrot(&["--config"]);
    command.arg(path).args(arguments);
    command
}

#[track_caller]
fn ends_with(command: &mut Command, code: i32, words: &[&str]) -> Ended {
    let ended = run(command.stdout(Stdio::piped()));
    assert_eq!(ended.code, Some(code), "{ended:?}");
    for words in words {
        assert!(ended.printed().contains(words), "no {words:?} in: {}", ended.printed());
    }
    ended
}

#[test]
fn a_file_has_the_options_of_the_command_line() {
    let path = file("listen = ['tcp:127.0.0.1:0', 'tcp:127.0.0.1:0']\nlog = 'off'\ngreeting = 'from a file'");
    let parrot = spawn(&mut with_file(&path, &[]));
    assert_eq!(parrot.addresses().len(), 2);
    let parrot = spawn(&mut with_file(&path, &["--port", "0", "--bind", "127.0.0.1", "--identify"]));
    assert_eq!(parrot.addresses().len(), 1, "the command line says where to listen");
}

#[test]
fn the_environment_wins_over_the_file_and_the_line_over_both() {
    let [ours, file_port, line_port] = [free_port().unwrap(), free_port().unwrap(), free_port().unwrap()];
    let path = file(&format!("port = {file_port}\nbind = '127.0.0.1'\nlog = 'off'"));
    let port = |command: &mut Command| spawn(command).address().port();
    assert_eq!(port(&mut with_file(&path, &[])), file_port);
    assert_eq!(port(with_file(&path, &[]).env("PARROT_PORT", ours.to_string())), ours);
    let line = ["--port", &line_port.to_string()];
    assert_eq!(port(with_file(&path, &line).env("PARROT_PORT", ours.to_string())), line_port);
}

#[test]
fn listen_on_the_line_replaces_bind_and_port_of_the_file() {
    let path = file("port = 0\nbind = '127.0.0.1'\nlog = 'off'");
    let line = ["--listen", "tcp:127.0.0.1:0"];
    assert_eq!(spawn(&mut with_file(&path, &line)).addresses().len(), 1);
    assert_eq!(spawn(with_file(&path, &line).env("PARROT_PORT", "0")).addresses().len(), 1);
    // Without it, the port of the environment is where the file says to listen.
    let free = free_port().unwrap();
    let path = file(&format!("port = 0\nbind = '127.0.0.1'\nlisten = 'tcp:127.0.0.1:{free}'\nlog = 'off'"));
    assert_eq!(spawn(with_file(&path, &[]).env("PARROT_PORT", "0")).addresses().len(), 2);
    let ended = run(with_file(&path, &["--check"]).env("PARROT_PORT", free.to_string()));
    assert!(ended.stderr.contains(&format!("both listen on 127.0.0.1:{free},")), "{ended:?}");
}

#[test]
fn a_mistake_in_the_file_is_wrong_usage_with_its_place() {
    for (text, place) in [
        ("log = 'off'\nidle-timeuot = '5s'", "parrot.toml"),
        ("log = 'off'\nidle-timeuot = '5s'", ":2:1: there is no option idle-timeuot (did you mean idle-timeout?)"),
        ("log = 'off'\nidle-timeout = 5", ":2:16: invalid value '5' for '--idle-timeout <TIME>'"),
        ("log = 'off", ":1:"),
    ] {
        let ended = ends_with(&mut with_file(&file(text), &[]), 2, &[place]);
        assert_eq!(ended.stdout, "");
    }
    ends_with(&mut with_file(Path::new("/nowhere/parrot.toml"), &[]), 2, &["cannot read /nowhere/parrot.toml"]);
    ends_with(&mut with_file(Path::new("/dev/null"), &[]), 2, &["/dev/null is not a regular file"]);
    let path = file("log = 'off'\n");
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"greeting = '\xff'").unwrap();
    ends_with(&mut with_file(&path, &[]), 2, &[":2:13: this is not UTF-8"]);
    File::options().write(true).open(&path).unwrap().set_len(2 << 20).unwrap();
    ends_with(&mut with_file(&path, &[]), 2, &["is larger than 512 KiB"]);
}

#[test]
fn a_check_says_that_parrot_would_start() {
    let path = file("listen = 'tcp:127.0.0.1:0'");
    let ended = ends_with(&mut with_file(&path, &["--check"]), 0, &[]);
    assert_eq!((&*ended.stdout, &*ended.stderr), ("parrot would start\n", ""));
}

#[test]
fn a_check_says_why_parrot_would_not_start() {
    ends_with(&mut bare_parrot(&["--check", "--port", "x"]), 2, &["a number from 0 to 65535"]);
    ends_with(&mut with_file(&file("prot = 1"), &["--check"]), 2, &["did you mean port?"]);
    // RFC 5737 reserves this address for documentation.
    ends_with(&mut bare_parrot(&["--check", "--bind", "192.0.2.1"]), 1, &["192.0.2.1 is not an address"]);
    for file in ["--log-file=/nowhere/log", "--ready-file=/nowhere/ready", "--listen=unix:/nowhere/parrot.sock"] {
        ends_with(&mut bare_parrot(&["--check", file]), 1, &["/nowhere"]);
    }
}

#[test]
fn a_check_looks_at_the_files_of_a_start() {
    ends_with(&mut bare_parrot(&["--check", "--ready-file=/dev/null"]), 1, &["/dev/null", "not a regular file"]);
    let directory = scratch("read-only");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(0o500)).unwrap();
    if rustix::process::getuid().is_root() {
        return skip("root may write to every directory");
    }
    for option in ["--log-file", "--ready-file"] {
        let option = format!("{option}={}/file", directory.display());
        ends_with(&mut bare_parrot(&["--check", &option]), 1, &["Permission denied"]);
    }
}

#[test]
fn a_check_disturbs_no_server_and_leaves_nothing() {
    let (log, ready, socket) = (scratch("log"), scratch("ready"), scratch("parrot.sock"));
    let port = free_port().unwrap();
    let path = file(&format!(
        "listen = ['tcp:127.0.0.1:{port}', 'unix:{}']\nlog-file = '{}'\nready-file = '{}'",
        socket.display(),
        log.display(),
        ready.display()
    ));
    ends_with(&mut with_file(&path, &["--check"]), 0, &["parrot would start\n"]);
    assert!(![&log, &ready, &socket].into_iter().any(|file| file.exists()));

    let parrot = spawn(&mut with_file(&path, &[]));
    let (address, before) = (parrot.address(), fs::read(&ready).unwrap());
    let said = format!("parrot would start, once nothing else listens on {address}, unix:{}\n", socket.display());
    ends_with(&mut with_file(&path, &["--check"]), 0, &[&said]);
    echo(&parrot.connect(), b"squawk");
    assert_eq!(fs::read(&ready).unwrap(), before);
    let summary = parrot.stop().unwrap();
    assert!(summary.contains(" 1 accepted"), "{summary}");
    TcpListener::bind((LOOPBACK, port)).unwrap();
}
