//! Faults on request, each measured from outside through real sockets. Times have lower bounds that hold on any machine,
//! and the patience of the tests as the upper one.

mod changes;
mod datagrams;
mod ends;
mod flow;
mod shown;
mod usage;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use parrot_testkit::PATIENCE;
use parrot_testkit::parrot::Parrot;

use crate::support::{bare_parrot, scratch, spawn};

/// A connection of either kind.
enum Client {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// Over TCP, and it was reset before the client knew that it was connected.
    Reset,
}

/// How the server has ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Finished,
    Reset,
}

/// What a client has received: each piece with the time since the measurement began.
#[derive(Debug)]
struct Received {
    pieces: Vec<(Duration, Vec<u8>)>,
    end: Option<End>,
    ended: Duration,
}

impl Received {
    fn bytes(&self) -> Vec<u8> {
        self.pieces.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
    }
}

impl Client {
    fn tcp(address: SocketAddr) -> Client {
        let stream = match TcpStream::connect(address) {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Client::Reset,
            Err(error) => panic!("{error}"),
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client::Tcp(stream)
    }

    fn unix(path: &Path) -> Client {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client::Unix(stream)
    }

    fn is_tcp(&self) -> bool {
        matches!(self, Client::Tcp(_) | Client::Reset)
    }

    fn try_clone(&self) -> Client {
        match self {
            Client::Tcp(stream) => Client::Tcp(stream.try_clone().unwrap()),
            Client::Unix(stream) => Client::Unix(stream.try_clone().unwrap()),
            Client::Reset => Client::Reset,
        }
    }

    fn end(&self) {
        // A server that has reset the connection leaves nothing to shut down.
        let _ = match self {
            Client::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Client::Unix(stream) => stream.shutdown(Shutdown::Write),
            Client::Reset => Ok(()),
        };
    }

    fn send(&mut self, bytes: &[u8]) {
        match self {
            Client::Tcp(stream) => stream.write_all(bytes).unwrap(),
            Client::Unix(stream) => stream.write_all(bytes).unwrap(),
            Client::Reset => panic!("the connection was reset"),
        }
    }

    fn receive(&mut self, space: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Client::Tcp(stream) => stream.read(space),
            Client::Unix(stream) => stream.read(space),
            Client::Reset => Err(ErrorKind::ConnectionReset.into()),
        }
    }

    /// Receives until this many bytes have come, or the connection has ended.
    fn receive_up_to(&mut self, most: usize, since: Instant) -> Received {
        let mut received = Received { pieces: Vec::new(), end: None, ended: Duration::ZERO };
        let mut space = vec![0; 1 << 16];
        let mut left = most;
        while left > 0 {
            let room = left.min(space.len());
            match self.receive(&mut space[..room]) {
                Ok(0) => received.end = Some(End::Finished),
                Ok(n) => {
                    received.pieces.push((since.elapsed(), space[..n].to_vec()));
                    left -= n;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => received.end = Some(End::Reset),
                // On Linux, a receive with a timeout fails so after the process was stopped (signal(7)).
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => panic!("{error} after {received:?}"),
            }
            received.ended = since.elapsed();
            break;
        }
        received
    }

    fn receive_all(&mut self, since: Instant) -> Received {
        self.receive_up_to(usize::MAX, since)
    }
}

/// A server with these arguments, which listens on a port of 127.0.0.1 and on this path.
fn start(path: &Path, arguments: &[&str]) -> Parrot {
    let unix = format!("unix:{}", path.display());
    spawn(bare_parrot(&["--listen", "tcp:127.0.0.1:0", "--listen", &unix, "--log", "off"]).args(arguments))
}

/// Runs a story with a server that has these faults, over TCP and over a Unix socket. The server is another one for each,
/// so that both have the first connections.
fn over_each(faults: &[&str], story: impl Fn(&dyn Fn() -> Client)) {
    let arguments: Vec<&str> = faults.iter().flat_map(|fault| ["--fault", *fault]).chain(["--seed", "1512"]).collect();
    for is_tcp in [true, false] {
        let path = scratch("faults.sock");
        let parrot = start(&path, &arguments);
        story(&|| if is_tcp { Client::tcp(parrot.address()) } else { Client::unix(&path) });
        parrot.stop().unwrap();
    }
}

/// As many bytes as a story wants.
fn bytes(length: usize) -> &'static [u8] {
    &crate::support::data()[..length]
}

fn milliseconds(number: u64) -> Duration {
    Duration::from_millis(number)
}
