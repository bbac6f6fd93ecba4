//! What a server listens on: addresses and paths, or sockets that somebody else has opened.

mod activation;
mod address;
mod bind_error;
mod given;
mod listener;
mod socket_file;
mod sockets;
mod tcp;
mod trial;
mod udp;
mod unix;
mod unserved;

use std::fmt;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use parrot_conn::fault::FaultPlan;
use parrot_udp::DatagramSocket;

use crate::faults::PlannedFaults;
use crate::statistics::Counter;

pub use activation::{Activation, ActivationError, Descriptor};
pub(crate) use address::local_ip;
pub use address::{Addresses, LocalAddress};
pub use bind_error::BindError;
pub(crate) use listener::{Carrier, ListenOptions, Listener};
pub use socket_file::SocketFile;
pub(crate) use sockets::raise_no_signal;
pub use unserved::UnservedListener;

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
/// assert_eq!(server.listening()[0].to_string(), format!("{address} as web"));
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
    /// The permissions of the file of a Unix socket, if they are not those of all of them.
    unix_mode: Option<u32>,
    faults: Option<FaultPlan>,
}

/// Where to listen.
#[derive(Debug)]
enum Place {
    Tcp(Addresses),
    Udp(Addresses),
    Unix(PathBuf),
    #[cfg(target_os = "linux")]
    UnixAbstract(Vec<u8>),
    GivenTcp(TcpListener),
    GivenUdp(UdpSocket),
    GivenUnix(UnixListener),
}

/// A listener that is open, and how the loop treats its connections.
#[derive(Debug)]
pub struct OpenListener<Listener> {
    /// The listener.
    pub listener: Listener,
    /// As the replies show it.
    pub label: Label,
    /// It was opened by somebody else, who may hold it too.
    pub given: bool,
    /// Each connection begins with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// How many connections it has accepted.
    pub accepted: Arc<Counter>,
    /// Its own faults.
    pub faults: Option<Arc<PlannedFaults>>,
}

/// How a greeting and a prefix show a listener.
#[derive(Debug, Clone)]
pub struct Label {
    /// Its name, or its address if it has none.
    pub name: Arc<str>,
    /// Its address.
    pub address: Arc<str>,
}

/// A UDP socket that is open.
#[derive(Debug)]
pub struct OpenDatagramSocket<Socket> {
    /// The socket.
    pub socket: Socket,
    /// Its port.
    pub port: u16,
    /// As the replies show it.
    pub label: Label,
    /// It was opened by somebody else, who may hold it too.
    pub given: bool,
    /// Its own faults.
    pub faults: Option<Arc<PlannedFaults>>,
}

/// All that a server has opened.
#[derive(Debug)]
pub struct Opened<Listener, DatagramSocket> {
    /// The listeners.
    pub listeners: Vec<OpenListener<Listener>>,
    /// The UDP sockets.
    pub datagrams: Vec<OpenDatagramSocket<DatagramSocket>>,
}

/// An open listener or UDP socket, and its count of connections, which a UDP socket does not have.
#[derive(Debug, Clone)]
pub(crate) struct CountedListening {
    pub(crate) listening: Listening,
    pub(crate) accepted: Option<Arc<Counter>>,
}

impl CountedListening {
    pub(crate) fn listed(counted: &[CountedListening]) -> Vec<Listening> {
        counted.iter().map(|counted| counted.listening.clone()).collect()
    }
}

/// An open listener or UDP socket, as it is shown. `Display` gives its address and its name, and
/// whether it wants PROXY headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// Where it listens.
    pub address: LocalAddress,
    /// The name that it was [given](Listen::named).
    pub name: Option<String>,
    /// Whether each connection has to begin with a PROXY protocol header.
    pub proxy_protocol: bool,
}

impl Listen {
    /// TCP on these addresses. IPv6 sockets accept IPv6 connections only, on every system.
    pub fn tcp(addresses: impl Into<Addresses>) -> Listen {
        Listen::at(Place::Tcp(addresses.into()))
    }

    /// UDP on these addresses. Each datagram goes back to its source from the address that it was sent to, unless the
    /// [rules](crate::UdpRules) refuse it. On OpenBSD and DragonFly, [`Addresses::everywhere`] is an error, because nix
    /// cannot choose the source of an IPv6 datagram there.
    pub fn udp(addresses: impl Into<Addresses>) -> Listen {
        Listen::at(Place::Udp(addresses.into()))
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
        Listen { place, name: None, proxy_protocol: false, unix_mode: None, faults: None }
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

    /// With these permissions of a Unix socket's file, whatever [`Config::unix_mode`](crate::Config::unix_mode) says.
    #[must_use]
    pub fn with_unix_mode(mut self, mode: u32) -> Listen {
        self.unix_mode = Some(mode);
        self
    }

    /// With faults of its own, in place of those that [all listeners have](crate::Config::faults). A plan without faults
    /// makes it a faultless echo.
    #[must_use]
    pub fn with_faults(mut self, plan: FaultPlan) -> Listen {
        self.faults = Some(plan);
        self
    }

    /// Opens what is to be listened on, and returns how each of it is shown.
    pub(crate) fn open(
        self,
        options: &ListenOptions,
        opened: &mut Opened<Listener, DatagramSocket>,
    ) -> Result<Vec<CountedListening>, BindError> {
        let Listen { place, name, proxy_protocol, unix_mode, faults } = self;
        let faults = faults.map(|plan| Arc::new(PlannedFaults::new(plan)));
        let given = matches!(place, Place::GivenTcp(_) | Place::GivenUdp(_) | Place::GivenUnix(_));
        let proxy_protocol =
            proxy_protocol || (options.proxy_everywhere && !matches!(place, Place::Udp(_) | Place::GivenUdp(_)));
        let listening = |address| Listening { address, name: name.clone(), proxy_protocol };
        let listeners = match place {
            Place::Udp(_) | Place::GivenUdp(_) if proxy_protocol => return Err(BindError::proxied_datagrams()),
            Place::Udp(addresses) => {
                return Ok(opened.add_datagrams(udp::open(&addresses, options)?, given, faults, listening));
            }
            Place::GivenUdp(socket) => {
                return Ok(opened.add_datagrams(vec![udp::take(socket)?], given, faults, listening));
            }
            Place::Tcp(addresses) => tcp::listen(&addresses, options)?,
            Place::Unix(path) => {
                let unix_mode = unix_mode.or(options.unix_mode);
                vec![unix::listen_at(path, &ListenOptions { unix_mode, ..*options })?]
            }
            #[cfg(target_os = "linux")]
            Place::UnixAbstract(name) => vec![unix::listen_at_name(name, options)?],
            Place::GivenTcp(listener) => vec![given::tcp(listener, options)?],
            Place::GivenUnix(listener) => vec![given::unix(listener)?],
        };
        Ok(opened.add_listeners(listeners, given, faults, listening))
    }
}

impl<Listener, DatagramSocket> Default for Opened<Listener, DatagramSocket> {
    /// Nothing.
    fn default() -> Opened<Listener, DatagramSocket> {
        Opened { listeners: Vec::new(), datagrams: Vec::new() }
    }
}

impl Opened<Listener, DatagramSocket> {
    fn add_listeners(
        &mut self,
        listeners: Vec<(Listener, LocalAddress)>,
        given: bool,
        faults: Option<Arc<PlannedFaults>>,
        listening: impl Fn(LocalAddress) -> Listening,
    ) -> Vec<CountedListening> {
        let mut shown = Vec::new();
        for (listener, address) in listeners {
            let (listening, accepted) = (listening(address), Arc::<Counter>::default());
            let (label, proxy_protocol) = (listening.label(), listening.proxy_protocol);
            self.listeners.push(OpenListener {
                listener,
                label,
                given,
                proxy_protocol,
                accepted: Arc::clone(&accepted),
                faults: faults.clone(),
            });
            shown.push(CountedListening { listening, accepted: Some(accepted) });
        }
        shown
    }

    fn add_datagrams(
        &mut self,
        sockets: Vec<(DatagramSocket, LocalAddress)>,
        given: bool,
        faults: Option<Arc<PlannedFaults>>,
        listening: impl Fn(LocalAddress) -> Listening,
    ) -> Vec<CountedListening> {
        let mut shown = Vec::new();
        for (socket, address) in sockets {
            let listening = listening(address);
            let port = socket.local_address().port();
            self.datagrams.push(OpenDatagramSocket {
                socket,
                port,
                label: listening.label(),
                given,
                faults: faults.clone(),
            });
            shown.push(CountedListening { listening, accepted: None });
        }
        shown
    }
}

impl Listening {
    fn label(&self) -> Label {
        let address: Arc<str> = self.address.to_string().into();
        Label { name: self.name.as_deref().map_or_else(|| Arc::clone(&address), Arc::from), address }
    }

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

impl From<UdpSocket> for Listen {
    /// A UDP socket that the caller has bound.
    fn from(socket: UdpSocket) -> Listen {
        Listen::at(Place::GivenUdp(socket))
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
        self.address.fmt(f)?;
        if let Some(name) = &self.name {
            write!(f, " as {name}")?;
        }
        if self.proxy_protocol { f.write_str(" with PROXY headers") } else { Ok(()) }
    }
}
