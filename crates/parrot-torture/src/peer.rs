//! A peer of the server: sends bytes that are known by their position, and checks every one that comes back.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::random::Pattern;

/// How long anything may take that should happen soon, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a peer's sockets are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sockets {
    /// As the system makes them.
    Usual,
    /// With the smallest buffers and segments that the system grants, so that the server's fill up soon.
    Tiny,
}

/// Why a conversation did not go as it should.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Another byte than the one sent, at this position.
    Wrong(u64),
    /// More bytes than were sent.
    TooMany,
    /// The end of the stream before all bytes had come back.
    Ended,
    /// The system's word for it.
    Failed(io::Error),
    /// Nothing happened for [`PATIENCE`].
    Late,
}

impl Trouble {
    /// Whether the conversation was cut off, and every byte up to then was right.
    pub(crate) fn is_cut_off(&self) -> bool {
        match self {
            Trouble::Ended => true,
            Trouble::Failed(error) => {
                let going = matches!(
                    error.kind(),
                    ErrorKind::ConnectionReset
                        | ErrorKind::ConnectionAborted
                        | ErrorKind::ConnectionRefused
                        | ErrorKind::BrokenPipe
                        | ErrorKind::NotConnected
                );
                // macOS says so of a socket that is being torn down, to a write and to an option.
                let torn_down =
                    Errno::from_io_error(error).is_some_and(|error| [Errno::PROTOTYPE, Errno::INVAL].contains(&error));
                going || cfg!(target_os = "macos") && torn_down
            }
            Trouble::Wrong(_) | Trouble::TooMany | Trouble::Late => false,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Wrong(position) => write!(f, "byte {position} of a stream came back as another"),
            Trouble::TooMany => write!(f, "more bytes came back than were sent"),
            Trouble::Ended => write!(f, "the stream ended before all bytes had come back"),
            Trouble::Failed(error) => write!(f, "a peer's socket failed: {error}"),
            Trouble::Late => write!(f, "nothing came back for {PATIENCE:?}"),
        }
    }
}

impl std::error::Error for Trouble {}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Failed(error)
    }
}

/// What a look at the socket found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pulled {
    Nothing,
    Bytes(usize),
    End,
}

/// One conversation. The socket does not block; the methods that wait say so.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: TcpStream,
    pattern: Pattern,
    sent: u64,
    received: u64,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stream.local_addr() {
            Ok(address) => write!(f, "{address}")?,
            Err(error) => write!(f, "of unknown address ({error})")?,
        }
        write!(f, ", {} bytes sent, {} back", self.sent, self.received)
    }
}

impl Peer {
    /// Connects; waits for that.
    pub(crate) fn connect(address: SocketAddr, sockets: Sockets) -> Result<Peer, Trouble> {
        /// Each peer sends a stream of its own, so that bytes of one cannot pass for those of another.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let start = Instant::now();
        let stream = loop {
            let stream = match sockets {
                Sockets::Usual => TcpStream::connect_timeout(&address, PATIENCE),
                Sockets::Tiny => tiny(address).map(TcpStream::from),
            };
            match stream {
                // All ports are kept by connections that have ended (TIME_WAIT): some are free again soon.
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable && start.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_millis(50));
                }
                outcome => break outcome?,
            }
        };
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Peer { stream, pattern: Pattern(NEXT.fetch_add(1, Relaxed) << 32), sent: 0, received: 0 })
    }

    /// Bytes sent that have not come back.
    pub(crate) fn outstanding(&self) -> u64 {
        self.sent - self.received
    }

    /// Bytes that came back.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Sends up to `most` bytes, what the socket has room for.
    pub(crate) fn push(&mut self, most: usize) -> Result<usize, Trouble> {
        let mut bytes = [0; 16 * 1024];
        let (bytes, _) = bytes.split_at_mut(most.min(16 * 1024));
        self.pattern.fill(self.sent, bytes);
        match self.stream.write(bytes) {
            Ok(n) => {
                self.sent += n as u64;
                Ok(n)
            }
            Err(error) if is_blocked(&error) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Receives up to `most` bytes, what has arrived, and checks them.
    pub(crate) fn pull(&mut self, most: usize) -> Result<Pulled, Trouble> {
        let mut bytes = [0; 16 * 1024];
        let (bytes, _) = bytes.split_at_mut(most.clamp(1, 16 * 1024));
        let n = match self.stream.read(bytes) {
            Ok(0) => return Ok(Pulled::End),
            Ok(n) => n,
            Err(error) if is_blocked(&error) => return Ok(Pulled::Nothing),
            Err(error) => return Err(error.into()),
        };
        if let Some(position) = self.pattern.differs(self.received, bytes.split_at(n).0) {
            return Err(Trouble::Wrong(position));
        }
        self.received += n as u64;
        if self.received > self.sent { Err(Trouble::TooMany) } else { Ok(Pulled::Bytes(n)) }
    }

    /// Sends `n` bytes and waits until they, and all before them, are back.
    pub(crate) fn echo(&mut self, n: usize) -> Result<(), Trouble> {
        self.send_all(n)?;
        self.receive_all()
    }

    /// Sends `n` bytes, taking what comes back meanwhile.
    pub(crate) fn send_all(&mut self, n: usize) -> Result<(), Trouble> {
        let mut left = n;
        while left > 0 {
            let pushed = self.push(left)?;
            left -= pushed;
            match self.pull(16 * 1024)? {
                Pulled::End => return Err(Trouble::Ended),
                Pulled::Nothing if pushed == 0 => self.wait(PollFlags::IN | PollFlags::OUT)?,
                Pulled::Nothing | Pulled::Bytes(_) => {}
            }
        }
        Ok(())
    }

    /// Waits until all that was sent is back.
    pub(crate) fn receive_all(&mut self) -> Result<(), Trouble> {
        while self.outstanding() > 0 {
            match self.pull(16 * 1024)? {
                Pulled::End => return Err(Trouble::Ended),
                Pulled::Nothing => self.wait(PollFlags::IN)?,
                Pulled::Bytes(_) => {}
            }
        }
        Ok(())
    }

    /// Says that no more will be sent.
    pub(crate) fn finish(&self) -> Result<(), Trouble> {
        Ok(self.stream.shutdown(Shutdown::Write)?)
    }

    /// After [`finish`](Peer::finish): waits for the rest, and the end of the stream behind it.
    pub(crate) fn receive_to_the_end(mut self) -> Result<(), Trouble> {
        self.receive_all()?;
        loop {
            match self.pull(1)? {
                Pulled::End => return Ok(()),
                Pulled::Nothing => self.wait(PollFlags::IN)?,
                Pulled::Bytes(_) => {}
            }
        }
    }

    /// Ends the conversation by a reset in place of an orderly end.
    pub(crate) fn reset(self) -> Result<(), Trouble> {
        match sockopt::set_socket_linger(self.stream.as_fd(), Some(Duration::ZERO)) {
            // macOS: the other side was faster.
            Err(Errno::INVAL) if cfg!(target_os = "macos") => Ok(()),
            outcome => Ok(outcome.map_err(io::Error::from)?),
        }
    }

    fn wait(&self, what: PollFlags) -> Result<(), Trouble> {
        let start = Instant::now();
        let mut descriptors = [PollFd::new(&self.stream, what)];
        let timeout = Timespec { tv_sec: 1, tv_nsec: 0 };
        while start.elapsed() < PATIENCE {
            match poll(&mut descriptors, Some(&timeout)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
        Err(Trouble::Late)
    }
}

fn is_blocked(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn tiny(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    // Before the connection is made: the window that it starts with depends on it.
    sockopt::set_socket_send_buffer_size(&socket, 1024)?;
    sockopt::set_socket_recv_buffer_size(&socket, 1024)?;
    // What the server may send at first, and so the size of its own buffer, depends on the segments we take: on Linux's
    // loopback they are 64 KiB otherwise (tcp_init_buffer_space in net/ipv4/tcp_input.c).
    #[cfg(target_os = "linux")]
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::TcpMaxSeg, &536)?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}
