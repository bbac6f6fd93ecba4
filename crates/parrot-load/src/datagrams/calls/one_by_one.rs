//! A call for each datagram.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg};

use super::Slices;

/// The calls of one thread.
pub(crate) struct Calls;

impl Calls {
    /// The arguments are those of `batched.rs`, which keeps headers for the calls.
    pub(crate) fn new(_most: usize, _v4: bool) -> Calls {
        Calls
    }

    /// Receives into `spaces` and adds the length of each datagram to `lengths`, also if an error follows them.
    pub(crate) fn receive<'a>(
        &mut self,
        socket: &OwnedFd,
        spaces: impl Iterator<Item = &'a mut [u8]>,
        lengths: &mut Vec<usize>,
    ) -> rustix::io::Result<()> {
        for space in spaces {
            match recv(socket, space, RecvFlags::empty()) {
                Ok((length, _)) => lengths.push(length),
                Err(Errno::AGAIN) if !lengths.is_empty() => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Sends datagrams from the front and returns how many.
    pub(crate) fn send(&mut self, socket: &OwnedFd, datagrams: &[Slices<'_>]) -> rustix::io::Result<usize> {
        let mut sent = 0;
        for slices in datagrams {
            match sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), SendFlags::empty()) {
                Ok(_) => sent += 1,
                Err(errno) if sent == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(sent)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
#[allow(clippy::duplicate_mod, reason = "both ways pass the same tests")]
mod tests;
