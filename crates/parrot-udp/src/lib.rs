//! UDP datagrams in batches, each with the address it was sent to, and replies from there.
//!
//! A socket that is bound to all addresses sends from whichever one the route suggests. On a host with several
//! addresses that is often not the one that was asked, and the client drops the answer. This crate asks the system
//! where each datagram was sent to, and has the reply leave from there.
//!
//! ```
//! use std::net::UdpSocket;
//!
//! use parrot_udp::{Batch, DatagramSocket};
//!
//! let mut socket = DatagramSocket::new(UdpSocket::bind("0.0.0.0:0")?)?;
//! let client = UdpSocket::bind("127.0.0.1:0")?;
//! client.connect(("127.0.0.1", socket.local_address().port()))?;
//! client.send(b"squawk")?;
//!
//! let mut batch = Batch::new();
//! while let Err(error) = socket.receive(&mut batch) {
//!     // A server waits for its event queue here.
//!     assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
//! }
//! for mut datagram in batch.iter_mut() {
//!     let to_many = datagram.get().destination().is_some_and(|to| to.is_broadcast() || to.is_multicast());
//!     if to_many || datagram.get().source().port() < 1024 {
//!         datagram.refuse();
//!     }
//! }
//! assert_eq!(socket.reply(&batch).sent, 1);
//! assert_eq!(client.recv(&mut [0; 16])?, 6);
//! # std::io::Result::Ok(())
//! ```
//!
//! # What is promised
//!
//! - A datagram comes back whole, whether it has no bytes or 65,507. None is marked do-not-fragment.
//! - Nothing is allocated per datagram, with the exceptions below, and nothing is kept for later. A reply that the
//!   system does not take is dropped and counted.
//! - A reply leaves from the address that was asked where [`replies_from_destination`] says so, or not at all.
//!
//! The crate does not decide which datagrams get a reply. Its caller must not reply to all of them, because two
//! services that answer each other never stop, and anybody can forge a source.
//!
//! # What differs
//!
//! For a socket that is bound to all addresses:
//!
//! | | Linux | FreeBSD | NetBSD | macOS | OpenBSD | DragonFly |
//! |---|---|---|---|---|---|---|
//! | calls for a batch | 1 | 1 for each datagram | 1 | 1 for each datagram | 1 for each datagram | 1 for each datagram |
//! | replies to one source leave together | yes | no | no | no | no | no |
//! | replies from the destination, IPv4 | yes | yes | yes | yes | yes | no |
//! | replies from the destination, IPv6 | yes | yes | yes | yes | no | no |
//! | broadcast address of a network is told | yes | if known | if known | if known | if known | if known |
//! | interface of an IPv4 datagram is known | yes | no | no | yes | no | no |
//! | what the socket dropped is counted | yes | no | no | no | no | no |
//! | allocates | no | no | received IPv6 | replies | IPv4 replies, received IPv6 | received IPv6 |
//!
//! nix allocates to copy control messages that it does not know, and with sendmsg those that set a source.
//!
//! A broadcast address is known if its interface had it when the socket was taken over.
//!
//! OpenBSD and DragonFly can set the source of an IPv6 datagram, but nix has no safe call for it. For IPv4 on DragonFly
//! no proof was found that the kernel takes the option. There a server has to bind one socket for each of its
//! addresses.
//!
//! The tests have run on Linux. For the other systems the code is linted, and what the table says of them was read in
//! their sources.
//!
//! # Options of a socket
//!
//! [`DatagramSocket::new`] sets these:
//!
//! - O_NONBLOCK.
//! - Unless the socket is bound to one address: IP_PKTINFO on Linux and macOS, IP_RECVDSTADDR elsewhere, and
//!   IPV6_RECVPKTINFO for IPv6.
//! - On Linux IP_MTU_DISCOVER and IPV6_MTU_DISCOVER to "don't". The default marks IPv4 datagrams do-not-fragment
//!   (ip(7)). Other systems do not mark UDP datagrams.
//! - Elsewhere SO_SNDBUF and SO_RCVBUF to 128 KiB, if they are smaller and the system allows it. The default send
//!   buffer is 9,216 bytes, which is also the longest datagram (`udp_sendspace` in netinet/udp_usrreq.c).
//! - SO_TIMESTAMP off, and on Linux also SO_TIMESTAMPNS and SO_RXQ_OVFL.

// Input from outside must never cause an index out of bounds.
#![warn(clippy::indexing_slicing)]

mod batch;
#[cfg(any(test, not(target_os = "linux")))]
mod broadcasts;
mod calls;
mod destination;
mod options;
mod socket;

pub use batch::{Batch, Datagram, DatagramMut, NoRoom};
pub use destination::Destination;
pub use options::count_drops;
pub use socket::{DatagramSocket, Replied, replies_from_destination};
