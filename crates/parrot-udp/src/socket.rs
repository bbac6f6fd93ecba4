//! A UDP socket whose replies leave from the address that was asked.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::socket::{SockaddrIn, SockaddrIn6};

use crate::calls::{self, Family, Group};
use crate::{Batch, Destination, options};

/// A bound UDP socket that receives and replies in batches.
///
/// Several threads may use several of them, and one may move to another thread.
#[derive(Debug)]
pub struct DatagramSocket {
    socket: UdpSocket,
    local: SocketAddr,
    /// Where every datagram was sent to, if the socket is bound to one address. The system is asked otherwise.
    only: Option<Destination>,
    #[cfg(not(target_os = "linux"))]
    broadcasts: crate::broadcasts::Broadcasts,
    drops: options::Drops,
    calls: calls::Calls,
}

/// What became of the replies to a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replied {
    /// Datagrams that the system took.
    pub sent: usize,
    /// Payload bytes of these.
    pub bytes: u64,
    /// Datagrams that it did not take.
    pub dropped: usize,
}

/// Whether the replies of a socket that is bound to `address` leave from the address that was asked.
///
/// They always do for a socket with an address of its own. For an unspecified address, which stands for all addresses
/// of the system, they do on Linux, macOS, FreeBSD and NetBSD. OpenBSD does so with IPv4 only, and DragonFly not at
/// all. Where they do not, a reply leaves from the address that the route suggests.
#[must_use]
pub fn replies_from_destination(address: IpAddr) -> bool {
    !address.is_unspecified() || if address.is_ipv4() { calls::SETS_IPV4_SOURCE } else { calls::SETS_IPV6_SOURCE }
}

impl DatagramSocket {
    /// Takes over a socket that is bound.
    ///
    /// Makes it non-blocking, asks for the destination of each datagram unless the socket is bound to one address, and
    /// lets replies of any length leave. The crate's documentation has the options for each system.
    ///
    /// # Errors
    ///
    /// The socket is not bound, or the system refuses an option.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        let local = socket.local_addr()?;
        if local.port() == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the UDP socket is not bound"));
        }
        socket.set_nonblocking(true)?;
        let only = (!local.ip().is_unspecified()).then(|| Destination::new(local.ip(), scope(local)));
        options::set(&socket, local, only.is_none())?;
        let drops = options::Drops::new(&socket);
        let calls = calls::Calls::new(&socket);
        Ok(Self {
            socket,
            local,
            only,
            #[cfg(not(target_os = "linux"))]
            broadcasts: crate::broadcasts::Broadcasts::of_interfaces(),
            drops,
            calls,
        })
    }

    /// The address that the socket is bound to.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// How many datagrams the system has dropped since the last call, or since `new`. Most did not fit into the
    /// socket's receive buffer, and a few had a wrong checksum. `None` if the system does not count them for each
    /// socket, which only Linux does (SO_MEMINFO, since 4.12).
    pub fn take_drops(&mut self) -> Option<u32> {
        self.drops.take(&self.socket)
    }

    /// Replaces the datagrams in `batch` by those that have arrived, as many as fit, and returns their number.
    ///
    /// Fewer than fit does not mean that no more have arrived. Only `WouldBlock` does, and a level-triggered event
    /// queue reports the rest anyway.
    ///
    /// A datagram whose destination should be known and is not is marked as refused, since its reply could come from
    /// the wrong address.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if nothing has arrived. An error that an ICMP message caused is reported once, and only for a
    /// socket that somebody connected (udp(7)). It concerns no datagram in particular, and the next call goes on. The
    /// batch is empty after every error.
    pub fn receive(&mut self, batch: &mut Batch) -> io::Result<usize> {
        batch.clear();
        match self.local {
            SocketAddr::V4(_) => self.calls.receive::<SockaddrIn>(&self.socket, self.only, batch)?,
            SocketAddr::V6(_) => self.calls.receive::<SockaddrIn6>(&self.socket, self.only, batch)?,
        }
        #[cfg(not(target_os = "linux"))]
        self.broadcasts.mark(batch);
        Ok(batch.len())
    }

    /// Sends every datagram that is not refused back to its source, from the address that it was sent to.
    ///
    /// The order is kept among datagrams from one source to one destination. What the system does not take is dropped
    /// and counted, and nothing is kept for later. When the send buffer is full, the rest is dropped without trying.
    ///
    /// Linux since 4.18 takes replies of one length to one source as one large datagram and cuts it (UDP_SEGMENT in
    /// udp(7)). The source gets the same datagrams either way.
    pub fn reply(&mut self, batch: &Batch) -> Replied {
        match self.local {
            SocketAddr::V4(_) => self.reply_as::<SockaddrIn>(batch),
            SocketAddr::V6(_) => self.reply_as::<SockaddrIn6>(batch),
        }
    }

    /// The source of replies is the same for a whole call, so there is a call for each destination. Nearly always there
    /// is one only.
    fn reply_as<S: Family>(&mut self, batch: &Batch) -> Replied {
        let mut replied = Replied::default();
        let mut waiting = batch.answered(self.local.is_ipv4());
        replied.dropped += batch.answered(!self.local.is_ipv4()).len();
        while let Some(first) = waiting.first() {
            let source = self.source(batch, first);
            let places = waiting.iter().filter(|place| self.source(batch, *place) == source).collect();
            waiting = waiting.without(places);
            self.calls.reply::<S>(&self.socket, Group { batch, places, source }, &mut replied);
        }
        replied
    }

    /// What to give the system as the source of a reply, or `None` if the socket's own address will do.
    fn source(&self, batch: &Batch, place: usize) -> calls::Source {
        if self.only.is_some() || !replies_from_destination(self.local.ip()) {
            return None;
        }
        let source = batch.get(place)?.destination()?.reply_source();
        (!source.0.is_unspecified()).then_some(source)
    }
}

impl AsFd for DatagramSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn scope(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(address) => address.scope_id(),
    }
}

impl Replied {
    pub(crate) fn sent(&mut self, payload: &[u8]) {
        self.sent += 1;
        self.bytes += payload.len() as u64;
    }
}
