//! One call for each datagram: recvmsg and sendmsg. nix allocates the control message of each datagram that it sends.

use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recvmsg, sendmsg};

use super::{Family, Source, entry};
use crate::Destination;
use crate::batch::Batch;

/// Room for the control messages of a datagram. It is more than the destination takes, for options that whoever made
/// the socket has set as well.
const CONTROL: usize = 256;

/// Nothing is kept for a family here.
#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd")))]
pub(crate) trait Kept {}

#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd")))]
impl<S> Kept for S {}

/// The calls of a socket.
#[derive(Debug)]
pub(crate) struct Calls {
    /// Control messages as they arrive. On the heap, where they are aligned as they have to be.
    control: Vec<u8>,
}

impl Calls {
    pub(crate) fn new() -> Self {
        Self { control: vec![0; CONTROL] }
    }

    /// Adds what has arrived to an empty batch. An error after the first datagram is left for the next call if it is
    /// still there.
    pub(crate) fn receive<S: Family>(
        &mut self,
        socket: &UdpSocket,
        only: Option<Destination>,
        batch: &mut Batch,
    ) -> Result<(), Errno> {
        let (spaces, entries) = batch.space();
        for space in spaces {
            let mut slices = [IoSliceMut::new(space)];
            match recvmsg::<S>(socket.as_raw_fd(), &mut slices, Some(&mut self.control), MsgFlags::empty()) {
                Ok(message) => entries.extend(entry(&message, only)),
                Err(error) if entries.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Sends one datagram or more from the front, and returns how many.
    #[allow(clippy::unused_self, reason = "as in batched.rs")]
    pub(crate) fn send<S: Family>(
        &mut self,
        socket: &UdpSocket,
        slices: &[[IoSlice<'_>; 1]],
        addresses: &[Option<S>],
        source: Source,
    ) -> Result<usize, Errno> {
        let (Some(slice), Some(address)) = (slices.first(), addresses.first()) else { return Ok(0) };
        let info = source.and_then(|(local, interface)| S::source_info(local, interface));
        let message = info.as_ref().map(S::source_message);
        sendmsg(socket.as_raw_fd(), slice, message.as_slice(), MsgFlags::empty(), address.as_ref())?;
        Ok(1)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use nix::sys::socket::{SockaddrIn, setsockopt, sockopt};
    use parrot_testkit::wait_until;

    use super::*;

    const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
    const ALSO_HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

    fn wildcard() -> (UdpSocket, u16) {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        #[cfg(any(target_os = "linux", target_vendor = "apple"))]
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).unwrap();
        #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
        setsockopt(&socket, sockopt::Ipv4RecvDstAddr, &true).unwrap();
        let port = socket.local_addr().unwrap().port();
        (socket, port)
    }

    #[test]
    fn each_datagram_comes_back_from_where_it_was_sent_to() {
        let (socket, port) = wildcard();
        let client = UdpSocket::bind((HERE, 0)).unwrap();
        let addresses = [HERE, ALSO_HERE].into_iter().filter(|address| UdpSocket::bind((*address, 0)).is_ok());
        let mut calls = Calls::new();
        for address in addresses {
            for length in [0, 1, 65_507] {
                let payload = vec![7; length];
                client.send_to(&payload, (address, port)).unwrap();
                let mut batch = Batch::new();
                wait_until("a datagram", || calls.receive::<SockaddrIn>(&socket, None, &mut batch).is_ok());
                let entry = batch.entries()[0];
                assert_eq!(entry.destination.unwrap().address(), IpAddr::V4(address));

                let to = [SockaddrIn::from_address(entry.source)];
                let source = Some((IpAddr::V4(address), 0));
                let payloads = [[IoSlice::new(batch.iter().next().unwrap().payload())]];
                assert_eq!(calls.send(&socket, &payloads, &to, source), Ok(1));
                let mut bytes = vec![0; 65_536];
                assert_eq!(client.recv_from(&mut bytes).unwrap(), (length, SocketAddr::from((address, port))));
            }
        }
    }

    #[test]
    fn what_has_arrived_fits_one_batch_after_another() {
        let (socket, port) = wildcard();
        let client = UdpSocket::bind((HERE, 0)).unwrap();
        let count = Batch::CAPACITY + 3;
        for _ in 0..count {
            client.send_to(b"squawk", (HERE, port)).unwrap();
        }
        let (mut calls, mut batch, mut received) = (Calls::new(), Batch::new(), 0);
        wait_until("all datagrams", || {
            batch.clear();
            let result = calls.receive::<SockaddrIn>(&socket, None, &mut batch);
            received += batch.len();
            assert_eq!(result.is_err(), batch.is_empty());
            received == count
        });
        batch.clear();
        assert_eq!(calls.receive::<SockaddrIn>(&socket, None, &mut batch), Err(Errno::EAGAIN));
    }
}
