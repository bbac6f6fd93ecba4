//! recvmmsg and sendmmsg.
//!
//! nix does not reset the space for the address, which the kernel overwrites with what it used (nix#2813). So headers are
//! used again only for addresses of the same length.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg, sendmmsg};

use super::Slices;

/// The headers of the calls of one thread.
pub(crate) struct Calls {
    receiving: Receiving,
    sending: MultiHeaders<()>,
    /// The addresses of the datagrams to send, which a connected socket does not need.
    nowhere: Vec<Option<()>>,
}

enum Receiving {
    V4(MultiHeaders<SockaddrIn>),
    V6(MultiHeaders<SockaddrIn6>),
}

impl Calls {
    /// For up to `most` datagrams in a call, and for sockets of one family.
    pub(crate) fn new(most: usize, v4: bool) -> Calls {
        let receiving = if v4 {
            Receiving::V4(MultiHeaders::preallocate(most, None))
        } else {
            Receiving::V6(MultiHeaders::preallocate(most, None))
        };
        Calls { receiving, sending: MultiHeaders::preallocate(most, None), nowhere: vec![None; most] }
    }

    /// Receives into `spaces` and adds the length of each datagram to `lengths`.
    pub(crate) fn receive<'a>(
        &mut self,
        socket: &OwnedFd,
        spaces: impl Iterator<Item = &'a mut [u8]>,
        lengths: &mut Vec<usize>,
    ) -> rustix::io::Result<()> {
        let received = match &mut self.receiving {
            Receiving::V4(headers) => receive(socket, headers, spaces, lengths),
            Receiving::V6(headers) => receive(socket, headers, spaces, lengths),
        };
        received.map_err(errno)
    }

    /// Sends datagrams from the front and returns how many.
    pub(crate) fn send(&mut self, socket: &OwnedFd, datagrams: &[Slices<'_>]) -> rustix::io::Result<usize> {
        let headers = &mut self.sending;
        let sent = sendmmsg(socket.as_raw_fd(), headers, datagrams, &self.nowhere, [], MsgFlags::empty());
        sent.map(Iterator::count).map_err(errno)
    }
}

fn receive<'a, S: Copy + SockaddrLike>(
    socket: &OwnedFd,
    headers: &mut MultiHeaders<S>,
    spaces: impl Iterator<Item = &'a mut [u8]>,
    lengths: &mut Vec<usize>,
) -> Result<(), Errno> {
    let mut slices: Vec<[IoSliceMut<'_>; 1]> = spaces.map(|space| [IoSliceMut::new(space)]).collect();
    let received = recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), MsgFlags::empty(), None)?;
    lengths.extend(received.map(|datagram| datagram.bytes));
    Ok(())
}

fn errno(errno: Errno) -> rustix::io::Errno {
    rustix::io::Errno::from_raw_os_error(errno as i32)
}

#[cfg(test)]
#[path = "tests.rs"]
#[allow(clippy::duplicate_mod, reason = "both ways pass the same tests")]
mod tests;
