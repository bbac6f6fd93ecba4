//! Checks that a server echoes a word, over each transport.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use parrot_load::Target;

/// How long a connection may take to open.
const OPEN: Duration = Duration::from_secs(10);
/// How long one receive waits for an echo.
const LISTEN: Duration = Duration::from_millis(100);
/// Ports that are tried for one that is free.
const ATTEMPTS: usize = 100;

const WORD: &[u8; 6] = b"polly\n";

/// Checks that a server at `target` echoes a word. Gives up when `enough` returns true.
///
/// # Errors
///
/// If the word cannot be sent, or something else comes back.
pub(crate) fn echoes(target: &Target, enough: &impl Fn() -> bool) -> io::Result<()> {
    match target {
        Target::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, OPEN)?;
            stream.set_read_timeout(Some(LISTEN))?;
            over_stream(stream, enough)
        }
        Target::Unix(address) => {
            let stream = UnixStream::connect_addr(address)?;
            stream.set_read_timeout(Some(LISTEN))?;
            over_stream(stream, enough)
        }
        Target::Udp(address) => over_udp(*address),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn over_stream(mut stream: impl Read + Write, enough: &impl Fn() -> bool) -> io::Result<()> {
    stream.write_all(WORD)?;
    let (mut answer, mut filled) = ([0; WORD.len()], 0);
    while filled < answer.len() {
        match stream.read(answer.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !enough() => {}
            Err(error) => return Err(error),
        }
    }
    expect(&answer)
}

/// One attempt, which the caller repeats, because a datagram that comes too early is lost.
fn over_udp(address: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(LISTEN))?;
    socket.send(WORD)?;
    let mut answer = [0; WORD.len() + 1];
    let count = socket.recv(&mut answer)?;
    expect(answer.get(..count).unwrap_or_default())
}

fn expect(answer: &[u8]) -> io::Result<()> {
    if answer == WORD { Ok(()) } else { Err(io::Error::other("other bytes came back")) }
}

/// A port of 127.0.0.1 that is free for TCP and for UDP at the moment, because some servers listen on both.
///
/// # Errors
///
/// If none is found.
pub(crate) fn free_port() -> Result<u16> {
    for _ in 0..ATTEMPTS {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
        let port = listener.local_addr()?.port();
        if UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port of 127.0.0.1 that is free for TCP and for UDP")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
    use std::thread;

    use super::*;

    #[test]
    fn a_server_over_udp_that_answers_with_other_bytes_is_found() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let target = Target::Udp(socket.local_addr().expect("its address"));
        thread::scope(|scope| {
            scope.spawn(|| {
                let (_, peer) = socket.recv_from(&mut [0; 16]).expect("a word");
                socket.send_to(b"crackers", peer).expect("an answer");
            });
            let error = echoes(&target, &|| true).expect_err("a wrong answer");
            assert!(error.to_string().contains("other bytes"), "{error}");
        });
    }

    #[test]
    fn a_server_at_a_unix_socket_is_asked_there() {
        let path = std::env::temp_dir().join(format!("parrot-bench-probe-{}", std::process::id()));
        let listener = UnixListener::bind(&path).expect("a listener");
        let target = Target::Unix(UnixAddress::from_pathname(&path).expect("an address"));
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().expect("a connection");
                let mut word = [0; WORD.len()];
                stream.read_exact(&mut word).expect("a word");
                stream.write_all(&word).expect("room for an answer");
            });
            echoes(&target, &|| false).expect("an echo");
        });
        std::fs::remove_file(path).expect("the end of the socket");
    }
}
