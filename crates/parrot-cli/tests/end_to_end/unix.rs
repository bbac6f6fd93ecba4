//! Unix sockets: their files, and that all that holds for TCP holds for them.

use std::fs::{self, File};
use std::io::{IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use parrot_testkit::PATIENCE;
use parrot_testkit::parrot::Parrot;
use parrot_testkit::process::Process;
use parrot_testkit::stream::Pattern;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::Signal;

use crate::support::{bare_parrot, scratch, spawn};

/// A server that listens on a path and nowhere else.
fn start(path: &Path, arguments: &[&str]) -> Parrot {
    let place = format!("unix:{}", path.display());
    spawn(bare_parrot(&["--listen", &place, "--log", "off"]).args(arguments))
}

/// The output of a server that cannot start.
fn failure(path: &Path) -> String {
    let place = format!("unix:{}", path.display());
    let mut process = Process::spawn(&mut bare_parrot(&["--listen", &place, "--log", "off"])).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(1));
    process.stderr()
}

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn expect(mut stream: &UnixStream, bytes: &[u8]) {
    let mut received = vec![0; bytes.len()];
    stream.read_exact(&mut received).unwrap();
    assert!(received == bytes, "the bytes received differ from those sent");
}

fn echo(mut stream: &UnixStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    expect(stream, bytes);
}

fn expect_end(mut stream: &UnixStream) {
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_unix_socket_echoes_and_its_file_goes_with_the_server() {
    let path = scratch("echo.sock");
    let parrot = start(&path, &[]);
    let stream = connect(&path);
    echo(&stream, b"squawk");
    drop(stream);
    parrot.stop().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_server_that_is_ended_at_once_removes_its_file() {
    let path = scratch("twice.sock");
    let mut parrot = start(&path, &[]);
    let stream = connect(&path);
    echo(&stream, b"squawk");
    parrot.signal(Signal::TERM).unwrap();
    parrot.line("draining").unwrap();
    parrot.signal(Signal::TERM).unwrap();
    assert_eq!(parrot.wait().unwrap().code(), Some(128 + 15));
    assert!(!path.exists());
}

#[test]
fn megabytes_come_back_in_order_and_then_the_end() {
    let path = scratch("bulk.sock");
    let parrot = start(&path, &[]);
    let data = Pattern(2).bytes(4 << 20);
    let stream = connect(&path);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            (&stream).write_all(&data).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        });
        expect(&stream, &data);
        expect_end(&stream);
        sending.join().unwrap();
    });
    parrot.stop().unwrap();
}

#[test]
fn the_file_of_a_server_that_was_killed_is_replaced() {
    let path = scratch("stale.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "what a killed server leaves behind");
    let parrot = start(&path, &[]);
    echo(&connect(&path), b"squawk");
    parrot.stop().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_server_that_is_alive_keeps_its_path() {
    let path = scratch("alive.sock");
    let first = start(&path, &[]);
    let error = failure(&path);
    assert!(error.contains("cannot listen on unix:") && error.contains("another server"), "{error}");
    echo(&connect(&path), b"squawk");
    first.stop().unwrap();
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let path = scratch("file.sock");
    fs::write(&path, "precious").unwrap();
    let error = failure(&path);
    assert!(error.contains("no socket"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
}

#[test]
fn the_file_of_a_successor_is_left_alone() {
    let path = scratch("successor.sock");
    let first = start(&path, &[]);
    fs::remove_file(&path).unwrap();
    let second = start(&path, &[]);
    first.stop().unwrap();
    echo(&connect(&path), b"squawk");
    second.stop().unwrap();
    assert!(!path.exists());
}

#[test]
fn the_mode_says_who_may_connect() {
    let path = scratch("mode.sock");
    let parrot = start(&path, &["--unix-mode", "0640"]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    parrot.stop().unwrap();
}

#[test]
fn two_servers_that_start_together_do_not_share_a_path() {
    for _ in 0..10 {
        let path = scratch("race.sock");
        drop(UnixListener::bind(&path).unwrap());
        let place = format!("unix:{}", path.display());
        let both = [(), ()].map(|()| Process::spawn(&mut bare_parrot(&["--listen", &place, "--log", "off"])).unwrap());
        let outcomes = both.map(Parrot::when_listening);
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        for parrot in outcomes.into_iter().flatten() {
            echo(&connect(&path), b"squawk");
            parrot.stop().unwrap();
        }
    }
}

#[test]
fn an_idle_unix_connection_is_closed() {
    let path = scratch("idle.sock");
    let parrot = start(&path, &["--idle-timeout", "50ms"]);
    expect_end(&connect(&path));
    assert!(parrot.stop().unwrap().contains("1 idle timeout"));
}

#[test]
fn a_drain_ends_unix_connections_in_the_orderly_way() {
    let path = scratch("drain.sock");
    let mut parrot = start(&path, &[]);
    let stream = connect(&path);
    echo(&stream, b"squawk");
    parrot.signal(Signal::TERM).unwrap();
    expect_end(&stream);
    drop(stream);
    assert!(parrot.wait_for_summary().unwrap().contains("1 drained"));
}

#[test]
fn the_log_names_the_user_behind_a_unix_peer() {
    let path = scratch("log.sock");
    let log = scratch("log");
    let place = format!("unix:{}", path.display());
    let parrot = spawn(bare_parrot(&["--listen", &place, "--log-file"]).arg(&log));
    echo(&connect(&path), b"squawk");
    parrot.stop().unwrap();
    let line = fs::read_to_string(&log).unwrap();
    let user = rustix::process::getuid().as_raw();
    assert!(line.starts_with(&format!("unix - {user} [")) && line.ends_with("] \"squawk\" 6\n"), "{line}");
    fs::remove_file(&log).unwrap();
}

/// A receive stops at such a message, which must not be taken for the last one.
#[test]
fn bytes_behind_descriptors_come_back() {
    let path = scratch("descriptors.sock");
    let parrot = start(&path, &[]);
    let stream = connect(&path);
    let null = File::open("/dev/null").unwrap();
    let open = || fs::read_dir(format!("/proc/{}/fd", parrot.pid())).map(Iterator::count).unwrap_or(0); // on Linux
    let before = open();
    for _ in 0..200 {
        let descriptors = [null.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        sendmsg(&stream, &[IoSlice::new(b"with, ")], &mut control, SendFlags::empty()).unwrap();
        (&stream).write_all(b"without").unwrap();
        expect(&stream, b"with, without");
    }
    assert!(before > 0 || !cfg!(target_os = "linux"), "they can be counted");
    assert!(open() < before + 20, "the descriptors are still open");
    drop(stream);
    parrot.stop().unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn urgent_bytes_come_back_in_their_place() {
    let path = scratch("urgent.sock");
    let parrot = start(&path, &[]);
    let stream = connect(&path);
    for _ in 0..100 {
        (&stream).write_all(b"before").unwrap();
        if let Err(error) = rustix::net::send(&stream, b"!", SendFlags::OOB) {
            return eprintln!("SKIPPED: this kernel has no urgent bytes on Unix sockets ({error})");
        }
        (&stream).write_all(b"behind").unwrap();
        expect(&stream, b"before!behind");
    }
    drop(stream);
    parrot.stop().unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn an_abstract_name_is_no_file() {
    use std::os::linux::net::SocketAddrExt as _;

    let name = format!("parrot-{}", std::process::id());
    let parrot = spawn(&mut bare_parrot(&["--listen", &format!("unix:@{name}"), "--log", "off"]));
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    echo(&UnixStream::connect_addr(&address).unwrap(), b"squawk");
    parrot.stop().unwrap();
}

#[test]
fn a_hundred_clients_that_do_not_read_are_bounded() {
    let path = scratch("bounded.sock");
    let parrot = start(&path, &["--max-buffered", "1MiB"]);
    let streams: Vec<UnixStream> = (0..100).map(|_| connect(&path)).collect();
    for mut stream in &streams {
        stream.set_write_timeout(Some(Duration::from_millis(1))).unwrap();
        while stream.write(&[b'x'; 64 << 10]).is_ok() {}
    }
    drop(streams);
    echo(&connect(&path), b"squawk");
    parrot.stop().unwrap();
}
