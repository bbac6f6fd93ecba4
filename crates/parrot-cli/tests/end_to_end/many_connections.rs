//! Thousands of connections at once.

#[cfg(target_os = "linux")]
use parrot_testkit::usage::Usage;

use std::net::{SocketAddr, TcpStream};

use parrot_testkit::client::echo;
use parrot_testkit::{PATIENCE, wait_until};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{AddressFamily, SocketType};

use crate::support::{connect_many, data, start};

const CONNECTIONS: usize = 5000;

/// The memory of a connection with no byte pending. docs/architecture.md says what each byte is for.
#[cfg(target_os = "linux")]
const BYTES_EACH: usize = 88;

/// Memory for buffers that were in use, a page each, for chunks of tables that are not full, and for the pages that the
/// system counts late.
#[cfg(target_os = "linux")]
const SLACK: usize = 256 << 10;

#[test]
fn five_thousand_connections_take_little_memory() {
    let parrot = start(&[]);
    echo(&parrot.connect(), b"warm");
    #[cfg(target_os = "linux")]
    let before = Usage::of(parrot.pid()).unwrap().memory;

    let Some(streams) = connect_many(&parrot, CONNECTIONS) else { return };
    // Backwards, so that no connection depends on the order in which they came.
    for (stream, message) in streams.iter().zip(data().chunks(1000)).rev() {
        echo(stream, message);
    }

    #[cfg(target_os = "linux")]
    {
        let grown = Usage::of(parrot.pid()).unwrap().memory.saturating_sub(before);
        let most = (CONNECTIONS * BYTES_EACH + SLACK) as u64;
        assert!(grown <= most, "{CONNECTIONS} connections with no byte pending take {grown} bytes, more than {most}");
    }
    drop(streams);
    let summary = parrot.stop().unwrap();
    assert!(summary.contains("5001 accepted"), "{summary}");
}

/// The connections of a burst. More than a backlog of 128 holds, except where the system resets what it does not hold, as
/// `rst_on_sock_fail` of syncache(4) does, so that a server which does not run for a moment cannot save them.
const BURST: usize = if cfg!(target_os = "linux") { 500 } else { 120 };

/// Begins to connect, and does not wait.
fn begin_to_connect(address: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    ioctl_fionbio(&socket, true).unwrap();
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => TcpStream::from(socket),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn bursts_lose_no_connection() {
    // What many systems allow by default.
    let parrot = start(&["--backlog", "128"]);
    for _ in 0..5 {
        let burst: Vec<TcpStream> = (0..BURST).map(|_| begin_to_connect(parrot.address())).collect();
        for stream in &burst {
            wait_until("a connection is made", || {
                assert!(stream.take_error().unwrap().is_none());
                stream.peer_addr().is_ok()
            });
            stream.set_nonblocking(false).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            echo(stream, b"squawk");
        }
    }
    let summary = parrot.stop().unwrap();
    assert!(summary.contains(&format!("{} accepted", 5 * BURST)), "{summary}");
    assert!(!summary.contains(" reset"), "{summary}");
}
