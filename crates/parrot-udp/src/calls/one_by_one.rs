//! One call for each datagram. It is the only way on macOS, OpenBSD and DragonFly, and the faster one for a single
//! datagram elsewhere. nix allocates the control message of each datagram that leaves from a source.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, recvmsg, sendmsg};

use super::{Family, Group, Source, entry};
use crate::batch::{Batch, Entry};
use crate::{Destination, Replied};

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
    pub(crate) fn new(_socket: &UdpSocket) -> Self {
        Self { control: vec![0; CONTROL] }
    }

    /// Adds what has arrived to an empty batch. An error after the first datagram is left for the next call if it is
    /// still there.
    #[cfg_attr(
        any(target_os = "linux", target_os = "freebsd", target_os = "netbsd"),
        allow(dead_code, reason = "tested here, used on other systems")
    )]
    pub(crate) fn receive<S: Family>(
        &mut self,
        socket: &UdpSocket,
        only: Option<Destination>,
        batch: &mut Batch,
    ) -> io::Result<()> {
        for _ in 0..Batch::CAPACITY {
            match self.receive_one::<S>(socket, only, batch) {
                Ok(()) => {}
                Err(error) if batch.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Adds one datagram to a batch that is not full.
    pub(crate) fn receive_one<S: Family>(
        &mut self,
        socket: &UdpSocket,
        only: Option<Destination>,
        batch: &mut Batch,
    ) -> io::Result<()> {
        let (mut spaces, entries) = batch.space();
        let Some(space) = spaces.nth(entries.len()) else { return Ok(()) };
        if let Some(only) = only {
            let (length, source) = socket.recv_from(space)?;
            let destination = Some(only);
            entries.push(Entry { source, destination, prefix: 0, length, truncated: false, refused: false });
        } else {
            let (fd, mut slices) = (socket.as_raw_fd(), [IoSliceMut::new(space)]);
            let message = recvmsg::<S>(fd, &mut slices, Some(&mut self.control), MsgFlags::empty())?;
            entries.extend(entry(&message, only));
        }
        Ok(())
    }

    #[allow(clippy::unused_self, reason = "as in batched.rs")]
    pub(crate) fn reply<S: Family>(&mut self, socket: &UdpSocket, group: Group<'_>, replied: &mut Replied) {
        let mut left = group.places.len();
        for datagram in group.datagrams() {
            left -= 1;
            match send::<S>(socket, datagram.payload(), datagram.source(), group.source) {
                Ok(()) => replied.sent(datagram.payload()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    replied.dropped += 1 + left;
                    return;
                }
                Err(_) => replied.dropped += 1,
            }
        }
    }
}

fn send<S: Family>(socket: &UdpSocket, payload: &[u8], to: SocketAddr, source: Source) -> io::Result<()> {
    let info = source.and_then(|(local, interface)| S::source_info(local, interface));
    match info {
        None => socket.send_to(payload, to).map(drop),
        Some(info) => {
            let to = S::from_address(to).ok_or(ErrorKind::InvalidInput)?;
            let (slices, messages) = ([IoSlice::new(payload)], [S::source_message(&info)]);
            sendmsg(socket.as_raw_fd(), &slices, &messages, MsgFlags::empty(), Some(&to))?;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use nix::sys::socket::SockaddrIn;
    use parrot_testkit::client::datagram_client;
    use parrot_testkit::wait_until;

    use super::*;
    use crate::options;

    const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
    const ALSO_HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

    fn wildcard() -> (UdpSocket, u16) {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let local = socket.local_addr().unwrap();
        options::set(&socket, local, true).unwrap();
        (socket, local.port())
    }

    #[test]
    fn each_datagram_comes_back_from_where_it_was_sent_to() {
        let (socket, port) = wildcard();
        let client = datagram_client((HERE, 0));
        let addresses = [HERE, ALSO_HERE].into_iter().filter(|address| UdpSocket::bind((*address, 0)).is_ok());
        let mut calls = Calls::new(&socket);
        for address in addresses {
            for length in [0, 1, 65_507] {
                let payload = vec![7; length];
                client.send_to(&payload, (address, port)).unwrap();
                let mut batch = Batch::new();
                wait_until("a datagram", || calls.receive::<SockaddrIn>(&socket, None, &mut batch).is_ok());
                assert_eq!(batch.get(0).unwrap().destination().unwrap().address(), IpAddr::V4(address));

                let group = Group { batch: &batch, places: batch.answered(true), source: Some((address.into(), 0)) };
                let mut replied = Replied::default();
                calls.reply::<SockaddrIn>(&socket, group, &mut replied);
                assert_eq!(replied, Replied { sent: 1, bytes: length as u64, dropped: 0 });
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
        let (mut calls, mut batch, mut received) = (Calls::new(&socket), Batch::new(), 0);
        wait_until("all datagrams", || {
            batch.clear();
            let result = calls.receive::<SockaddrIn>(&socket, None, &mut batch);
            received += batch.len();
            assert_eq!(result.is_err(), batch.is_empty());
            received == count
        });
        batch.clear();
        let error = calls.receive::<SockaddrIn>(&socket, None, &mut batch).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
}
