//! A peer of the server. It sends bytes that are known by their position and checks every one that comes back.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use parrot_testkit::stream::Pattern;
use parrot_testkit::{PATIENCE, client};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// The buffers and segments of a peer's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sockets {
    /// Those that the system chooses.
    Usual,
    /// The smallest that the system grants, so that the server's own fill up soon.
    Tiny,
}

/// Why an exchange with the server failed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The byte at this position came back as another.
    Wrong(u64),
    /// More bytes came back than were sent.
    TooMany,
    /// The stream ended before all bytes had come back.
    Ended,
    /// A system call failed.
    Failed(io::Error),
    /// Nothing happened for [`PATIENCE`].
    Late,
}

impl Trouble {
    /// Whether the connection was cut off after bytes that were all right.
    pub(crate) fn is_cut_off(&self) -> bool {
        match self {
            Trouble::Ended => true,
            Trouble::Failed(error) => {
                let gone = matches!(
                    error.kind(),
                    ErrorKind::ConnectionReset
                        | ErrorKind::ConnectionAborted
                        | ErrorKind::ConnectionRefused
                        | ErrorKind::BrokenPipe
                        | ErrorKind::NotConnected
                );
                // macOS returns these from a write or an option of a socket that is being torn down.
                let torn_down =
                    Errno::from_io_error(error).is_some_and(|error| [Errno::PROTOTYPE, Errno::INVAL].contains(&error));
                gone || cfg!(target_os = "macos") && torn_down
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

/// What a receive found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pulled {
    Nothing,
    Bytes(usize),
    End,
}

/// One connection, non-blocking. The methods that wait say so.
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
            Err(error) => write!(f, "unknown address ({error})")?,
        }
        write!(f, ", {} bytes sent, {} back", self.sent, self.received)
    }
}

impl Peer {
    /// Connects, and waits for that.
    pub(crate) fn connect(address: SocketAddr, sockets: Sockets) -> Result<Peer, Trouble> {
        /// Each peer sends a stream of its own, so the bytes of one cannot pass for those of another.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let start = Instant::now();
        let stream = loop {
            let stream = match sockets {
                Sockets::Usual => TcpStream::connect_timeout(&address, PATIENCE),
                Sockets::Tiny => client::tiny_socket(address).map(TcpStream::from),
            };
            match stream {
                // Connections that have ended hold all ports (TIME_WAIT). Some are free again soon.
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

    /// Bytes that have come back.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Sends up to `most` bytes, as many as the socket has room for.
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

    /// Receives up to `most` of the bytes that have arrived, and checks them.
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

    /// Sends `n` bytes and waits until all bytes have come back.
    pub(crate) fn echo(&mut self, n: usize) -> Result<(), Trouble> {
        self.send_all(n)?;
        self.receive_all()
    }

    /// Sends `n` bytes, and receives what comes back meanwhile.
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

    /// Waits until all bytes have come back.
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

    /// Shuts down its sending side.
    pub(crate) fn finish(&self) -> Result<(), Trouble> {
        Ok(self.stream.shutdown(Shutdown::Write)?)
    }

    /// Waits for the rest and the end of the stream, after [`finish`](Peer::finish).
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

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) -> Result<(), Trouble> {
        Ok(client::reset(self.stream)?)
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
