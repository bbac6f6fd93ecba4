//! A batch with one call each way: recvmmsg and sendmmsg.
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
use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg, sendmmsg};

use super::{Family, Source, entry};
use crate::Destination;
use crate::batch::Batch;

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
}

impl<S> Headers<S> {
    const fn new() -> Self {
        Self { receive: None, receive_with_destination: None, send: None, send_with_source: None }
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

fn preallocate<S: Copy + SockaddrLike>(control: Option<Vec<u8>>) -> MultiHeaders<S> {
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
pub(crate) struct Calls;

impl Calls {
    pub(crate) fn new() -> Self {
        Self
    }

    /// Adds what has arrived to an empty batch.
    #[allow(clippy::unused_self, reason = "as in one_by_one.rs, which keeps memory for control messages")]
    pub(crate) fn receive<S: Family>(
        &mut self,
        socket: &UdpSocket,
        only: Option<Destination>,
        batch: &mut Batch,
    ) -> Result<(), Errno> {
        S::with_headers(|headers| {
            if only.is_some() {
                let headers = headers.receive.get_or_insert_with(|| preallocate(None));
                return receive_into(socket, headers, only, batch).map(drop);
            }
            let kept = &mut headers.receive_with_destination;
            let cut =
                receive_into(socket, kept.get_or_insert_with(|| preallocate(Some(vec![0; CONTROL]))), None, batch)?;
            if cut {
                // Another control message has appeared, and the next call needs the whole space.
                *kept = None;
            }
            Ok(())
        })
    }

    /// Sends one datagram or more from the front, and returns how many.
    #[allow(clippy::unused_self, reason = "as in one_by_one.rs")]
    pub(crate) fn send<S: Family>(
        &mut self,
        socket: &UdpSocket,
        slices: &[[IoSlice<'_>; 1]],
        addresses: &[Option<S>],
        source: Source,
    ) -> Result<usize, Errno> {
        let info = source.and_then(|(local, interface)| S::source_info(local, interface));
        let message = info.as_ref().map(S::source_message);
        S::with_headers(|headers| {
            let headers = match info {
                None => headers.send.get_or_insert_with(|| preallocate(None)),
                // Exactly the space of the message. The kernel would read what is left over as another one, and nix
                // would write past the end of a smaller space (nix#2176).
                Some(_) => {
                    headers.send_with_source.get_or_insert_with(|| preallocate(Some(cmsg_space!(S::SourceInfo))))
                }
            };
            let sent = sendmmsg(socket.as_raw_fd(), headers, slices, addresses, message.as_slice(), MsgFlags::empty())?;
            Ok(sent.count())
        })
    }
}
