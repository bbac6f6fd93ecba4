//! Why a server could not be bound.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// The error of [`Server::bind`](crate::Server::bind).
#[derive(Debug)]
pub struct BindError {
    address: Option<SocketAddr>,
    source: io::Error,
}

impl BindError {
    pub(crate) fn listen(address: SocketAddr, source: io::Error) -> BindError {
        BindError { address: Some(address), source }
    }

    pub(crate) fn queue(source: io::Error) -> BindError {
        BindError { address: None, source }
    }

    /// The address that could not be listened on, or `None` when the event queue could not be set up.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The kind of the system's error.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "cannot listen on {address}"),
            None => write!(f, "cannot set up the event queue"),
        }
    }
}

impl Error for BindError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
