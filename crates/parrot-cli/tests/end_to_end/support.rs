//! Shared by the topics: the server's command line, connections by the thousand, and data that differs everywhere.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use parrot_testkit::client::echo;
use parrot_testkit::descriptors::raise_limit;
use parrot_testkit::parrot::{Parrot, isolated};
use parrot_testkit::process;
use parrot_testkit::stream::Pattern;

/// The IPv4 loopback address.
pub const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// The binary without any argument but these.
pub fn bare_parrot(arguments: &[&str]) -> Command {
    let mut command = isolated(Command::new(env!("CARGO_BIN_EXE_parrot")));
    command.args(arguments);
    command
}

/// The binary with these arguments, on a free port of 127.0.0.1 unless they say otherwise.
pub fn parrot(arguments: &[&str]) -> Command {
    let mut command = bare_parrot(&["--port", "0", "--bind", "127.0.0.1"]);
    command.args(arguments);
    command
}

/// The same command under a limit in the words of the shell's `ulimit`, such as `-n 16`.
pub fn limited(limit: &str, command: &Command) -> Command {
    isolated(process::limited(limit, command))
}

/// A running server with these arguments, on a free port of 127.0.0.1 unless they say otherwise, and without a log.
#[track_caller]
pub fn start(arguments: &[&str]) -> Parrot {
    spawn(parrot(&["--log", "off"]).args(arguments))
}

/// A running server.
#[track_caller]
pub fn spawn(command: &mut Command) -> Parrot {
    Parrot::spawn(command).unwrap()
}

/// This many connections, each of which has been served. `None` and a note if descriptors do not allow as many.
pub fn connect_many(parrot: &Parrot, count: usize) -> Option<Vec<TcpStream>> {
    if raise_limit() < count as u64 + 1000 {
        skip(&format!("the limit of descriptors is too low for {count} connections in one process"));
        return None;
    }
    let mut streams: Vec<TcpStream> = Vec::new();
    while streams.len() < count {
        let known = streams.len();
        // Fewer at a time than the smallest limit of a backlog (128) lets wait. Above it FreeBSD resets
        // (`rst_on_sock_fail` of syncache(4)), should the server not run meanwhile.
        streams.extend((0..100).map(|_| parrot.connect()));
        for (stream, message) in streams.iter().zip(data().chunks(12)).skip(known) {
            echo(stream, message);
        }
    }
    Some(streams)
}

/// 32 MiB of random bytes, so that no byte can stand in for another.
pub fn data() -> &'static [u8] {
    static DATA: OnceLock<Vec<u8>> = OnceLock::new();
    DATA.get_or_init(|| Pattern(1).bytes(32 << 20))
}

/// A path for a file of this test run.
pub fn scratch(name: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{}.{number}", std::process::id()))
}

/// Whether this machine has IPv6 on its loopback interface.
pub fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

/// Prints why a test did not run.
pub fn skip(reason: &str) {
    eprintln!("SKIPPED: {reason}");
}
