//! A batch with one call each way, which is recvmmsg and sendmmsg.
//!
//! nix keeps the headers of these calls in a `MultiHeaders`. It holds raw pointers, so it cannot move to another thread
//! as a socket can. It is made of what one call needs, so each thread keeps its own and the sockets of the thread share
//! them. Nothing is allocated after the first call of each kind.
//!
//! nix 0.31 does not reset the space for the address and the control messages, which the kernel overwrites with what it
//! used (nix#2813). So headers are only used again for datagrams whose addresses and control messages have the same
//! length, those of one family that carry a destination and those that do not.
//! Headers that were used to send would receive into addresses that are gone. So there are others for each direction.

use std::array;
use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg, sendmmsg};

use super::{Family, Group, entry, one_by_one};
use crate::{Batch, Destination, Replied};

/// Room for the control messages of a datagram. It is more than the destination takes, for options that whoever made
/// the socket has set as well.
const CONTROL: usize = 256;

/// The headers of a thread for one family.
#[derive(Debug)]
pub(crate) struct Headers<S> {
    receive: Option<MultiHeaders<S>>,
    receive_with_destination: Option<MultiHeaders<S>>,
    send: Option<MultiHeaders<S>>,
    send_with_source: Option<MultiHeaders<S>>,
    #[cfg(target_os = "linux")]
    pub(super) send_merged: Option<MultiHeaders<S>>,
    #[cfg(target_os = "linux")]
    pub(super) send_merged_with_source: Option<MultiHeaders<S>>,
}

impl<S> Headers<S> {
    const fn new() -> Self {
        Self {
            receive: None,
            receive_with_destination: None,
            send: None,
            send_with_source: None,
            #[cfg(target_os = "linux")]
            send_merged: None,
            #[cfg(target_os = "linux")]
            send_merged_with_source: None,
        }
    }
}

thread_local! {
    static IPV4: RefCell<Headers<SockaddrIn>> = const { RefCell::new(Headers::new()) };
    static IPV6: RefCell<Headers<SockaddrIn6>> = const { RefCell::new(Headers::new()) };
}

/// A family with its headers.
pub(crate) trait Kept: Sized {
    fn with_headers<R>(call: impl FnOnce(&mut Headers<Self>) -> R) -> R;
}

impl Kept for SockaddrIn {
    fn with_headers<R>(call: impl FnOnce(&mut Headers<Self>) -> R) -> R {
        IPV4.with_borrow_mut(call)
    }
}

impl Kept for SockaddrIn6 {
    fn with_headers<R>(call: impl FnOnce(&mut Headers<Self>) -> R) -> R {
        IPV6.with_borrow_mut(call)
    }
}

pub(super) fn preallocate<S: Copy + SockaddrLike>(control: Option<Vec<u8>>) -> MultiHeaders<S> {
    MultiHeaders::preallocate(Batch::CAPACITY, control)
}

/// Returns whether the space was too small for the control messages of a datagram.
fn receive_into<S: Family>(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<S>,
    only: Option<Destination>,
    batch: &mut Batch,
) -> Result<bool, Errno> {
    let (mut spaces, entries) = batch.space();
    let mut slices: [[IoSliceMut<'_>; 1]; Batch::CAPACITY] =
        array::from_fn(|_| [IoSliceMut::new(spaces.next().unwrap_or_default())]);
    let mut cut = false;
    for message in recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), MsgFlags::empty(), None)? {
        cut |= message.flags.contains(MsgFlags::MSG_CTRUNC);
        entries.extend(entry(&message, only));
    }
    Ok(cut)
}

/// The calls of a socket.
#[derive(Debug)]
pub(crate) struct Calls {
    one_by_one: one_by_one::Calls,
    /// How many calls since more than one datagram arrived at once.
    alone: u32,
    #[cfg(target_os = "linux")]
    merges: bool,
}

/// A client that waits for each reply sends one datagram at a time. recvmmsg then costs more than recvmsg, because it
/// looks for a second datagram. So that is left to one call of this many.
const LOOK_FOR_MORE: u32 = 8;

impl Calls {
    pub(crate) fn new(socket: &UdpSocket) -> Self {
        Self {
            one_by_one: one_by_one::Calls::new(socket),
            alone: 0,
            #[cfg(target_os = "linux")]
            merges: super::segments::are_supported(socket),
        }
    }

    /// Adds what has arrived to an empty batch.
    pub(crate) fn receive<S: Family>(
        &mut self,
        socket: &UdpSocket,
        only: Option<Destination>,
        batch: &mut Batch,
    ) -> io::Result<()> {
        let result = if self.alone.is_multiple_of(LOOK_FOR_MORE) {
            receive_many::<S>(socket, only, batch)
        } else {
            self.one_by_one.receive_one::<S>(socket, only, batch)
        };
        self.alone = if batch.len() > 1 { 0 } else { self.alone.wrapping_add(1) };
        result
    }

    pub(crate) fn reply<S: Family>(&mut self, socket: &UdpSocket, group: Group<'_>, replied: &mut Replied) {
        if group.places.len() == 1 {
            return match group.source {
                None => self.one_by_one.reply::<S>(socket, group, replied),
                // Not sendmsg, for which nix allocates.
                Some(_) => reply_many::<S, 1>(socket, group, replied),
            };
        }
        #[cfg(target_os = "linux")]
        let group = if self.merges { super::segments::reply::<S>(socket, group, replied) } else { group };
        reply_many::<S, { Batch::CAPACITY }>(socket, group, replied);
    }
}

fn receive_many<S: Family>(socket: &UdpSocket, only: Option<Destination>, batch: &mut Batch) -> io::Result<()> {
    S::with_headers(|headers| {
        if only.is_some() {
            let headers = headers.receive.get_or_insert_with(|| preallocate(None));
            receive_into(socket, headers, only, batch)?;
            return Ok(());
        }
        let kept = &mut headers.receive_with_destination;
        let cut = receive_into(socket, kept.get_or_insert_with(|| preallocate(Some(vec![0; CONTROL]))), None, batch)?;
        if cut {
            // Another control message has appeared, and the next call needs the whole space.
            *kept = None;
        }
        Ok(())
    })
}

/// Replies to a group of at most `N`.
fn reply_many<S: Family, const N: usize>(socket: &UdpSocket, group: Group<'_>, replied: &mut Replied) {
    let info = group.source.and_then(|(local, interface)| S::source_info(local, interface));
    let message = info.as_ref().map(S::source_message);
    let mut slices = [[IoSlice::new(&[])]; N];
    let mut addresses = [None; N];
    let mut length = 0;
    for ((datagram, slice), address) in group.datagrams().zip(&mut slices).zip(&mut addresses) {
        *slice = [IoSlice::new(datagram.payload())];
        *address = S::from_address(datagram.source());
        length += 1;
    }
    S::with_headers(|headers| {
        let headers = match info {
            None => headers.send.get_or_insert_with(|| preallocate(None)),
            // Exactly the space of the message. The kernel would read what is left over as another one, and nix would
            // write past the end of a smaller space (nix#2176).
            Some(_) => headers.send_with_source.get_or_insert_with(|| preallocate(Some(cmsg_space!(S::SourceInfo)))),
        };
        let mut done = 0;
        while let (Some(slices @ [_, ..]), Some(addresses)) = (slices.get(done..length), addresses.get(done..length)) {
            match sendmmsg(socket.as_raw_fd(), &mut *headers, slices, addresses, message.as_slice(), MsgFlags::empty())
            {
                Ok(results) => {
                    // The system takes one datagram or fails. Anything else must not turn into an endless loop.
                    let sent = results.count().max(1);
                    slices.iter().take(sent).for_each(|[slice]| replied.sent(slice));
                    done += sent;
                }
                Err(_) => {
                    replied.dropped += 1;
                    done += 1;
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use nix::sys::socket::{setsockopt, sockopt::ReceiveTimestamp};
    use parrot_testkit::wait_until;

    use super::*;
    use crate::options;

    fn wildcard() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let local = socket.local_addr().unwrap();
        options::set(&socket, local, true).unwrap();
        (socket, (Ipv4Addr::LOCALHOST, local.port()).into())
    }

    #[test]
    fn a_datagram_whose_destination_got_lost_is_refused() {
        let (socket, address) = wildcard();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let refused = || {
            client.send_to(b"squawk", address).unwrap();
            let mut batch = Batch::new();
            wait_until("a datagram", || receive_many::<SockaddrIn>(&socket, None, &mut batch).is_ok());
            // The headers of the first call are too small for what comes after it.
            setsockopt(&socket, ReceiveTimestamp, &true).unwrap();
            batch.get(0).unwrap().is_refused()
        };
        assert_eq!([refused(), refused(), refused()], [false, true, false]);
    }

    #[test]
    fn a_burst_is_noticed_after_single_datagrams() {
        let (socket, address) = wildcard();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (mut calls, mut batch) = (Calls::new(&socket), Batch::new());
        let mut next = || {
            batch.clear();
            wait_until("a datagram", || calls.receive::<SockaddrIn>(&socket, None, &mut batch).is_ok());
            batch.len()
        };
        for _ in 0..10 {
            client.send_to(b"squawk", address).unwrap();
            assert_eq!(next(), 1);
        }
        let burst = Batch::CAPACITY + LOOK_FOR_MORE as usize;
        for _ in 0..burst {
            client.send_to(b"squawk", address).unwrap();
        }
        let (mut received, mut most) = (0, 0);
        while received < burst {
            let count = next();
            (received, most) = (received + count, most.max(count));
        }
        assert_eq!(most, Batch::CAPACITY);
    }
}
