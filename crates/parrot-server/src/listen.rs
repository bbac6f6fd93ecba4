//! What a server listens on: addresses and paths, or sockets that somebody else has opened.

mod activation;
mod address;
mod bind_error;
mod given;
mod listener;
mod socket_file;
mod sockets;
mod tcp;
mod unix;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

pub use activation::{Activation, ActivationError, Descriptor};
pub use address::{Addresses, LocalAddress};
pub use bind_error::BindError;
pub(crate) use listener::{Carrier, ListenOptions, Listener};

/// A place to listen on, or a socket that the caller has opened.
///
/// ```
/// use std::net::TcpListener;
/// use parrot_server::{Addresses, Config, Listen, Server};
///
/// let given = TcpListener::bind("127.0.0.1:0")?;
/// let address = given.local_addr()?;
/// let listen = vec![Listen::from(given).named("web"), Listen::tcp(Addresses::localhost(0))];
/// let server = Server::bind(Config { listen, ..Config::default() })?;
/// assert_eq!(server.local_addresses()[0], address);
/// assert_eq!(server.listening()[0].to_string(), format!("{address} (web)"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A given socket may be shared with other processes, as under [socket activation](Listen::from_environment). So the
/// server never shuts it down, and when it drains it closes the socket and leaves the connections in its backlog to
/// whoever holds the socket too.
#[derive(Debug)]
pub struct Listen {
    place: Place,
    name: Option<String>,
    proxy_protocol: bool,
}

/// Where to listen.
#[derive(Debug)]
enum Place {
    Tcp(Addresses),
    Unix(PathBuf),
    #[cfg(target_os = "linux")]
    UnixAbstract(Vec<u8>),
    GivenTcp(TcpListener),
    GivenUnix(UnixListener),
}

/// A listener that is open, and how the loop treats its connections.
#[derive(Debug)]
pub struct OpenListener<Listener> {
    /// The listener.
    pub listener: Listener,
    /// Its name and address, as they are shown.
    pub listening: Listening,
    /// It was opened by somebody else, who may hold it too.
    pub given: bool,
    /// Each connection begins with a PROXY protocol header.
    pub proxy_protocol: bool,
}

/// An open listener or UDP socket, as it is shown. `Display` gives its address and, behind it in parentheses, its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// Where it listens.
    pub address: LocalAddress,
    /// The name that it was [given](Listen::named).
    pub name: Option<String>,
}

impl Listen {
    /// TCP on these addresses. IPv6 sockets accept IPv6 connections only, on every system.
    pub fn tcp(addresses: impl Into<Addresses>) -> Listen {
        Listen::at(Place::Tcp(addresses.into()))
    }

    /// A Unix stream socket with this path. The file of a server that has gone is replaced. If a server listens there, that
    /// is an error. The file is removed at the end, unless it has been replaced meanwhile.
    pub fn unix(path: impl Into<PathBuf>) -> Listen {
        Listen::at(Place::Unix(path.into()))
    }

    /// A Unix stream socket with this abstract name, which is no file: unix(7).
    #[cfg(target_os = "linux")]
    pub fn unix_abstract(name: impl Into<Vec<u8>>) -> Listen {
        Listen::at(Place::UnixAbstract(name.into()))
    }

    fn at(place: Place) -> Listen {
        Listen { place, name: None, proxy_protocol: false }
    }

    /// With a name, which the log of the program and `{listener}` in a greeting show.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Listen {
        self.name = Some(name.into());
        self
    }

    /// With a PROXY protocol header in front of each connection's bytes. See [`ProxyProtocol`](crate::ProxyProtocol).
    #[must_use]
    pub fn with_proxy_protocol(mut self) -> Listen {
        self.proxy_protocol = true;
        self
    }

    /// Opens what is to be listened on.
    pub(crate) fn open(self, options: &ListenOptions) -> Result<Vec<OpenListener<Listener>>, BindError> {
        let Listen { place, name, proxy_protocol } = self;
        let given = matches!(place, Place::GivenTcp(_) | Place::GivenUnix(_));
        let listeners = match place {
            Place::Tcp(addresses) => tcp::listen(&addresses, options)?,
            Place::Unix(path) => vec![unix::listen_at(path, options)?],
            #[cfg(target_os = "linux")]
            Place::UnixAbstract(name) => vec![unix::listen_at_name(name, options)?],
            Place::GivenTcp(listener) => vec![given::tcp(listener, options)?],
            Place::GivenUnix(listener) => vec![given::unix(listener)?],
        };
        let open = |(listener, address)| {
            let listening = Listening { address, name: name.clone() };
            OpenListener { listener, listening, given, proxy_protocol }
        };
        Ok(listeners.into_iter().map(open).collect())
    }
}

impl Listening {
    pub(crate) fn tcp_address(&self) -> Option<SocketAddr> {
        match self.address {
            LocalAddress::Tcp(address) => Some(address),
            _ => None,
        }
    }
}

impl From<TcpListener> for Listen {
    /// A listener that the caller has opened.
    fn from(listener: TcpListener) -> Listen {
        Listen::at(Place::GivenTcp(listener))
    }
}

impl From<UnixListener> for Listen {
    /// A listener that the caller has opened. Its file stays at the end.
    fn from(listener: UnixListener) -> Listen {
        Listen::at(Place::GivenUnix(listener))
    }
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} ({name})", self.address),
            None => self.address.fmt(f),
        }
    }
}
