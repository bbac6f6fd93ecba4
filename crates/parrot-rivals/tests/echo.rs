//! Every rival that is written in Rust echoes exactly what it receives.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::fs;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use parrot_testkit::client::{self, free_port};
use parrot_testkit::process::Process;
use parrot_testkit::{PATIENCE, program, wait_for};

/// More than a socket holds, so that the server has to wait for room.
const LONG: usize = 4 << 20;

/// Starts the program with these arguments.
fn start(program: &str, arguments: &[&str]) -> Process {
    Process::spawn(Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null())).unwrap()
}

/// Starts the program on a free port with further arguments, and returns the port's address.
fn start_on_a_port(program: &str, further: &[&str]) -> (Process, SocketAddr) {
    let port = free_port().unwrap();
    (start(program, &[&[&port.to_string()[..]], further].concat()), (Ipv4Addr::LOCALHOST, port).into())
}

/// Waits until the server listens on TCP.
fn connect(address: SocketAddr) -> TcpStream {
    wait_for("a connection", || Ok(TcpStream::connect(address).ok())).unwrap();
    client::connect(address)
}

/// Bytes in which a gap, a repetition and a swap all show.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).flat_map(|number| number.wrapping_mul(0x9e37_79b9).to_le_bytes()).take(length).collect()
}

/// Expects that a long message comes back while it is sent, and the end of the stream after it.
fn expect_long_echo(mut receiving: impl Read, send: impl FnOnce(&[u8]) + Send) {
    let message = pattern(LONG);
    let mut received = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| send(&message));
        receiving.read_to_end(&mut received).unwrap();
    });
    assert!(received == message, "{} bytes came back for {}, or others", received.len(), message.len());
}

fn expect_tcp_echo(program: &str, further: &[&str]) {
    let (_server, address) = start_on_a_port(program, further);
    let (first, second) = (connect(address), connect(address));
    for round in 0..100 {
        client::echo(&first, &pattern(12 + round));
        client::echo(&second, &pattern(120 + round));
    }
    expect_long_echo(&first, |message| {
        (&first).write_all(message).unwrap();
        first.shutdown(Shutdown::Write).unwrap();
    });
    client::echo(&second, b"polly\n");
}

#[test]
fn each_tcp_rival_echoes_every_byte() {
    for program in [
        env!("CARGO_BIN_EXE_rival-plain"),
        env!("CARGO_BIN_EXE_rival-mio"),
        env!("CARGO_BIN_EXE_rival-threads"),
        env!("CARGO_BIN_EXE_rival-tokio"),
        env!("CARGO_BIN_EXE_rival-tokio-1"),
    ] {
        expect_tcp_echo(program, &[]);
    }
}

#[test]
fn the_loop_that_never_sleeps_echoes_every_byte() {
    expect_tcp_echo(env!("CARGO_BIN_EXE_rival-plain"), &["spin"]);
}

#[test]
fn threads_answers_messages_of_sockperf_and_echoes_others() {
    let (_server, address) = start_on_a_port(env!("CARGO_BIN_EXE_rival-threads"), &["sockperf"]);
    let mut stream = connect(address);
    let (request, mut answer) = ([0, 0, 0, 0, 0, 0, 0, 7, 0, 3, 0, 0, 0, 14], [0; 14]);
    stream.write_all(&request).unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0, 0, 0, 0, 0, 0, 0, 7, 0, 2, 0, 0, 0, 14], "only the bit of the client differs");
    client::echo(&stream, b"Hello, dear Parrot\n");
}

#[test]
fn the_bare_client_counts_what_comes_back() {
    let (_server, address) = start_on_a_port(env!("CARGO_BIN_EXE_rival-plain"), &[]);
    drop(connect(address));
    let port = address.port().to_string();
    for further in [&[][..], &["edge"]] {
        let arguments = [&[&port[..], "3", "0", "300"], further].concat();
        let ended = program::run(Command::new(env!("CARGO_BIN_EXE_rival-plain-client")).args(arguments));
        let count = ended.stdout.strip_prefix("{\"messages\": ").and_then(|rest| rest.split(',').next()?.parse().ok());
        assert!(ended.code == Some(0) && count > Some(0), "{ended:?}");
    }
}

/// Whether io_uring can be used. If not, this prints why.
fn has_io_uring() -> bool {
    let checked = program::run(Command::new(env!("CARGO_BIN_EXE_rival-compio")).arg("check"));
    if checked.code != Some(0) {
        eprintln!("SKIPPED: no io_uring: {}", checked.stderr.trim());
    }
    checked.code == Some(0)
}

#[test]
fn the_rival_on_io_uring_echoes_every_byte() {
    if has_io_uring() {
        expect_tcp_echo(env!("CARGO_BIN_EXE_rival-compio"), &[]);
    }
}

/// The path of a socket that does not exist.
fn free_path(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_file(&path);
    path
}

#[test]
fn the_loop_over_unix_sockets_echoes_every_byte() {
    let path = free_path("plain.sock");
    let _server = start(env!("CARGO_BIN_EXE_rival-plain-unix"), &[path.to_str().unwrap()]);
    let connect = || wait_for("a connection", || Ok(UnixStream::connect(&path).ok())).unwrap();
    let (mut first, second) = (connect(), connect());
    for stream in [&first, &second] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    let mut received = [0; 12];
    for round in 0..100 {
        let message = [round; 12];
        first.write_all(&message).unwrap();
        first.read_exact(&mut received).unwrap();
        assert_eq!(received, message);
    }
    expect_long_echo(&second, |message| {
        (&second).write_all(message).unwrap();
        second.shutdown(Shutdown::Write).unwrap();
    });
}

#[test]
fn the_loop_over_udp_returns_each_datagram_whole() {
    let (_server, address) = start_on_a_port(env!("CARGO_BIN_EXE_rival-plain-udp"), &[]);
    let mut received = vec![0; 65_535];
    // What is sent before the server has its socket is lost, so this part has a socket of its own.
    let early = udp_client(address, Duration::from_millis(20));
    let echoed = || early.send(b"polly").is_ok() && early.recv(&mut [0; 16]).is_ok();
    wait_for("the first echo", || Ok(echoed().then_some(()))).unwrap();
    let socket = udp_client(address, PATIENCE);
    for length in [12, 0, 1, longest(), 1472, 0] {
        let message = pattern(length);
        assert_eq!(socket.send(&message).unwrap(), length);
        let count = socket.recv(&mut received).unwrap();
        assert!(received.get(..count) == Some(&message[..]), "{count} bytes came back for {length}, or others");
    }
}

/// A socket that receives from `address` only, and gives up after `patience`.
fn udp_client(address: SocketAddr, patience: Duration) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(address).unwrap();
    socket.set_read_timeout(Some(patience)).unwrap();
    socket
}

/// The longest datagram that this system sends. The default of macOS is 9,216 bytes, and the others have more.
fn longest() -> usize {
    if cfg!(target_os = "linux") { 65_507 } else { 9_216 }
}
