//! Why a server could not be bound.

use std::error::Error;
use std::fmt;
use std::io;

use super::LocalAddress;

/// The error of [`Server::bind`](crate::Server::bind), and of changes to a server that runs.
#[derive(Debug)]
pub struct BindError {
    failed: Failed,
    source: io::Error,
}

/// What could not be done.
#[derive(Debug)]
enum Failed {
    Listen(LocalAddress),
    /// A socket that the caller gave cannot be used. The words say which.
    Given(&'static str),
    Prefix,
    Queue,
    /// The server listens no more.
    Ended,
}

/// The most bytes of a datagram over IPv4, which has 20 bytes of header, and UDP 8 (RFC 768, RFC 791).
const LONGEST_DATAGRAM: usize = 65_507;

impl BindError {
    pub(crate) fn listen(address: LocalAddress, source: io::Error) -> BindError {
        BindError { failed: Failed::Listen(address), source }
    }

    pub(crate) fn given(what: &'static str, source: io::Error) -> BindError {
        BindError { failed: Failed::Given(what), source }
    }

    pub(crate) fn proxied_datagrams() -> BindError {
        let reason = io::Error::new(io::ErrorKind::InvalidInput, "datagrams have no PROXY header");
        BindError::given("listener with PROXY protocol", reason)
    }

    /// Checks that the longest prefix leaves room for a message in its buffer, and in a datagram if there are any.
    pub(crate) fn check_prefix(longest: usize, buffer: usize, has_datagrams: bool) -> Result<(), BindError> {
        let reason = if longest >= buffer {
            format!("it can have {longest} bytes, and a buffer for both has {buffer}")
        } else if has_datagrams && longest > LONGEST_DATAGRAM {
            // A reply that is longer than any datagram would never leave.
            format!("it can have {longest} bytes, and a datagram for both has {LONGEST_DATAGRAM}")
        } else {
            return Ok(());
        };
        Err(BindError { failed: Failed::Prefix, source: io::Error::new(io::ErrorKind::InvalidInput, reason) })
    }

    /// A server that drains or has ended.
    pub(crate) fn ended() -> BindError {
        let reason = io::Error::new(io::ErrorKind::NotConnected, "it drains or has ended");
        BindError { failed: Failed::Ended, source: reason }
    }

    pub(crate) fn queue(source: io::Error) -> BindError {
        BindError { failed: Failed::Queue, source }
    }

    /// Where could not be listened, or `None` when something else failed.
    pub fn address(&self) -> Option<&LocalAddress> {
        match &self.failed {
            Failed::Listen(address) => Some(address),
            Failed::Given(_) | Failed::Prefix | Failed::Queue | Failed::Ended => None,
        }
    }

    /// The kind of the system's error.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failed {
            Failed::Listen(address) => write!(f, "cannot listen on {address}"),
            Failed::Given(what) => write!(f, "cannot use the given {what}"),
            Failed::Prefix => f.write_str("the prefix leaves no room for a message"),
            Failed::Queue => f.write_str("cannot set up the event queue"),
            Failed::Ended => f.write_str("the server listens no more"),
        }
    }
}

impl Error for BindError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
