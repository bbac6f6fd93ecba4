//! Limits of memory that the server finds by itself.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use parrot_testkit::client::echo;
use parrot_testkit::parrot::isolated;
use rustix::process::Signal;

use crate::support::{limited, parrot, skip, spawn};

#[test]
fn a_resource_limit_lowers_the_memory_for_replies() {
    // The shell counts in KiB. OpenBSD and macOS have no limit on addresses or do not keep to it.
    if cfg!(any(target_os = "openbsd", target_os = "macos")) {
        return skip("this system does not limit a process's addresses");
    }
    let parrot = spawn(&mut limited("-v 409600", &parrot(&["--log", "off"])));
    parrot.line("replies may use 100.0 MiB of the 400.0 MiB that RLIMIT_AS allows").unwrap();
    echo(&parrot.connect(), b"squawk");
    parrot.stop().unwrap();
}

#[test]
fn the_command_line_decides_over_a_resource_limit() {
    let parrot = spawn(&mut limited("-v 409600", &parrot(&["--log", "off", "--max-buffered", "1MiB"])));
    echo(&parrot.connect(), b"squawk");
    assert!(!parrot.stop().unwrap().contains("replies may use"));
}

/// A cgroup of the test's own, in whichever version this machine has.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(bytes: &str) -> Option<Cgroup> {
        let name = format!("parrot-test-{}", std::process::id());
        for (parent, limit) in [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")] {
            let cgroup = Cgroup(Path::new(parent).join(&name));
            fs::create_dir(&cgroup.0).ok()?;
            // Elsewhere than in a cgroup there is no such file.
            let file = File::options().write(true).open(cgroup.0.join(limit));
            if file.is_ok_and(|mut file| file.write_all(bytes.as_bytes()).is_ok()) {
                return Some(cgroup);
            }
        }
        None
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_cgroup_that_peers_fill_does_not_kill_the_server() {
    let Some(cgroup) = Cgroup::new("50331648") else {
        return skip("cannot make a cgroup with a limit of memory, which takes Linux and root");
    };
    let server = parrot(&["--log", "off"]);
    let mut command = isolated(Command::new("sh"));
    let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", cgroup.0.display());
    command.args(["-c", &enter, "sh"]).arg(server.get_program()).args(server.get_args());
    let mut parrot = spawn(&mut command);
    parrot.line("replies may use 12.0 MiB of the 48.0 MiB").unwrap();
    // Peers that send as much as is taken, and never read.
    let peers: Vec<TcpStream> = (0..500).map(|_| parrot.connect()).collect();
    let data = vec![b'g'; 64 * 1024];
    for mut peer in &peers {
        peer.set_nonblocking(true).unwrap();
        while peer.write(&data).is_ok() {}
    }
    // Once they have gone, the server serves as before.
    drop(peers);
    echo(&parrot.connect(), b"squawk");
    parrot.signal(Signal::TERM).unwrap();
    assert!(parrot.wait().unwrap().success());
}
