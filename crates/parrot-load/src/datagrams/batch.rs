//! The datagrams of one call, and room for them.

use std::io::IoSlice;
use std::os::fd::OwnedFd;

use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::calls::{Calls, Slices};
use super::message::{self, NUMBER};
use crate::pattern::Pattern;
use crate::sizes::Sizes;

/// The most datagrams in a call.
const MOST: usize = 64;
/// The most bytes in a batch, unless one datagram is longer.
const MOST_BYTES: usize = 1 << 20;

/// Sends and receives up to [`most`](Batch::most) datagrams in a call.
pub(crate) struct Batch {
    calls: Calls,
    sizes: Sizes,
    /// Room for the longest datagrams, each with a byte more, so that a longer one is not taken for one of the right
    /// size.
    spaces: Vec<u8>,
    /// The lengths of those that were received.
    lengths: Vec<usize>,
    message: Vec<u8>,
}

impl Batch {
    /// For datagrams of these sizes, of which no more than `most` are ever sent at once, on IPv4 or else IPv6.
    pub(crate) fn new(sizes: Sizes, most: usize, v4: bool) -> Batch {
        let most = most.clamp(1, (MOST_BYTES / sizes.most()).clamp(1, MOST));
        let spaces = vec![0; most * (sizes.most() + 1)];
        Batch { calls: Calls::new(most, v4), sizes, spaces, lengths: Vec::with_capacity(most), message: Vec::new() }
    }

    /// The most datagrams in a call.
    pub(crate) fn most(&self) -> usize {
        self.spaces.len() / self.space()
    }

    /// Bytes of room for a datagram.
    fn space(&self) -> usize {
        self.sizes.most() + 1
    }

    /// Receives up to `most` datagrams. There may be some although an error followed them.
    pub(crate) fn receive(&mut self, socket: &OwnedFd, most: usize) -> rustix::io::Result<()> {
        self.lengths.clear();
        if most > 1 {
            let spaces = self.spaces.chunks_exact_mut(self.sizes.most() + 1).take(most);
            return self.calls.receive(socket, spaces, &mut self.lengths);
        }
        // A plain call is cheaper than one for several.
        let space = self.spaces.get_mut(..=self.sizes.most()).unwrap_or_default();
        let (length, _) = recv(socket, space, RecvFlags::empty())?;
        self.lengths.push(length);
        Ok(())
    }

    /// Those that were received.
    pub(crate) fn received(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let spaces = self.spaces.chunks_exact(self.space());
        self.lengths.iter().zip(spaces).map(|(length, space)| space.get(..*length).unwrap_or_default())
    }

    /// Sends the datagrams from `first` on that belong to socket number `number`, up to `count` of them, and returns how
    /// many.
    pub(crate) fn send(
        &mut self,
        socket: &OwnedFd,
        pattern: &Pattern,
        number: usize,
        first: u64,
        count: usize,
    ) -> rustix::io::Result<usize> {
        let check = |of| message::check(pattern, number, of, self.sizes);
        if count > 1 {
            let numbers: Vec<[u8; NUMBER]> = (first..).take(count.min(self.most())).map(message::number).collect();
            let datagram = |(digits, of)| [IoSlice::new(digits), IoSlice::new(check(of))];
            let datagrams: Vec<Slices<'_>> =
                numbers.iter().map(|digits| &digits[..]).zip(first..).map(datagram).collect();
            return self.calls.send(socket, &datagrams);
        }
        self.message.clear();
        self.message.extend(message::number(first));
        self.message.extend_from_slice(check(first));
        send(socket, &self.message, SendFlags::empty()).map(|_| 1)
    }
}
