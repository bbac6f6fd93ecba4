//! Replies to one peer that leave as one large datagram, which Linux cuts into the datagrams that the peer gets
//! (UDP_SEGMENT in udp(7), "generic segmentation offload").
//!
//! Most of the cost of a datagram is its way through the kernel's network stack, and the large one takes that way once.
//! It only fits datagrams of one length.

use std::array;
use std::io::IoSlice;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, getsockopt, sendmmsg, sockopt::UdpGsoSegment};

use super::batched::preallocate;
use super::{Family, Group};
use crate::batch::Places;
use crate::{Batch, Replied};

/// A segment must fit a packet of the path. This one fits Ethernet without fragments, and a whole batch of them fits a
/// datagram.
const LONGEST: usize = 1_472;

const _: () = assert!(Batch::CAPACITY <= 64, "the segments that Linux takes (UDP_MAX_SEGMENTS)");

/// A kernel before 4.18 would not cut the large datagram, and does not know the option either.
pub(super) fn are_supported(socket: &UdpSocket) -> bool {
    getsockopt(socket, UdpGsoSegment).is_ok()
}

/// Sends what can be merged, and returns what is left to be sent one by one.
///
/// Nothing is merged if the datagrams differ in length, because the order for each peer must be kept, or if each is
/// from another peer. When the system takes no segments, because of the path's MTU or IPsec, all that follows is left.
pub(super) fn reply<'a, S: Family>(socket: &UdpSocket, group: Group<'a>, replied: &mut Replied) -> Group<'a> {
    let Some((length, peers)) = length(group).zip(Peers::<S>::of(group)) else { return group };
    let info = group.source.and_then(|(local, interface)| S::source_info(local, interface));
    let segment = ControlMessage::UdpGsoSegments(&length);
    let (alone, both);
    let messages: &[ControlMessage<'_>] = match &info {
        None => {
            alone = [segment];
            &alone
        }
        Some(info) => {
            both = [segment, S::source_message(info)];
            &both
        }
    };
    let mut slices = peers.slices.as_slice();
    let merged: [&[IoSlice<'_>]; Batch::CAPACITY] = array::from_fn(|peer| {
        let count = peers.places.get(peer).map_or(0, |places| places.len());
        let (these, others) = slices.split_at_checked(count).unwrap_or_default();
        slices = others;
        these
    });
    S::with_headers(|headers| {
        let headers = match info {
            None => headers.send_merged.get_or_insert_with(|| preallocate(Some(cmsg_space!(u16)))),
            Some(_) => {
                let space = || preallocate(Some(cmsg_space!(u16, S::SourceInfo)));
                headers.send_merged_with_source.get_or_insert_with(space)
            }
        };
        let (mut done, mut left) = (0, group.places);
        while let (Some(merged @ [_, ..]), Some(addresses)) =
            (merged.get(done..peers.length), peers.addresses.get(done..peers.length))
        {
            let results = sendmmsg(socket.as_raw_fd(), &mut *headers, merged, addresses, messages, MsgFlags::empty());
            match results.map(Iterator::count) {
                Ok(0) | Err(Errno::EAGAIN) => {
                    replied.dropped += left.len();
                    left = Places::default();
                    break;
                }
                Ok(sent) => {
                    merged.iter().take(sent).copied().flatten().for_each(|slice| replied.sent(slice));
                    left = peers.places.iter().skip(done).take(sent).fold(left, |left, these| left.without(*these));
                    done += sent;
                }
                Err(_) => break,
            }
        }
        Group { places: left, ..group }
    })
}

/// The length of all datagrams, if it is the same and can be that of segments.
fn length(group: Group<'_>) -> Option<u16> {
    let mut lengths = group.datagrams().map(|datagram| datagram.payload().len());
    let length = lengths.next().filter(|length| (1..=LONGEST).contains(length))?;
    lengths.all(|other| other == length).then(|| u16::try_from(length).ok())?
}

/// The datagrams of each peer, one peer after the other.
struct Peers<'a, S> {
    slices: [IoSlice<'a>; Batch::CAPACITY],
    addresses: [Option<S>; Batch::CAPACITY],
    places: [Places; Batch::CAPACITY],
    length: usize,
}

impl<'a, S: Family> Peers<'a, S> {
    /// `None` if no peer has more than one datagram.
    fn of(group: Group<'a>) -> Option<Self> {
        let mut peers = Self {
            slices: [IoSlice::new(&[]); Batch::CAPACITY],
            addresses: [None; Batch::CAPACITY],
            places: [Places::default(); Batch::CAPACITY],
            length: 0,
        };
        let mut sources = [None; Batch::CAPACITY];
        for (source, place) in sources.iter_mut().zip(0..) {
            *source = group.batch.get(place).map(|datagram| datagram.source());
        }
        let (mut left, mut slices) = (group.places, peers.slices.iter_mut());
        for (address, places) in peers.addresses.iter_mut().zip(&mut peers.places) {
            let Some(first) = left.first() else { break };
            let peer = sources.get(first).copied().flatten();
            *address = peer.and_then(S::from_address);
            *places = left.iter().filter(|place| sources.get(*place) == Some(&peer)).collect();
            left = left.without(*places);
            let these = Group { places: *places, ..group };
            these.datagrams().zip(&mut slices).for_each(|(datagram, slice)| *slice = IoSlice::new(datagram.payload()));
            peers.length += 1;
        }
        (peers.length < group.places.len()).then_some(peers)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use nix::sys::socket::SockaddrIn;

    use super::*;

    /// What is left of datagrams to `peers` with these lengths.
    fn left(socket: &UdpSocket, datagrams: &[(SocketAddr, usize)]) -> (usize, Replied) {
        let mut batch = Batch::new();
        for (peer, length) in datagrams {
            batch.push(*peer, None, &vec![7; *length]).unwrap();
        }
        let group = Group { batch: &batch, places: batch.answered(true), source: None };
        let mut replied = Replied::default();
        let left = reply::<SockaddrIn>(socket, group, &mut replied).places.len();
        (left, replied)
    }

    #[test]
    fn only_datagrams_of_one_length_to_one_peer_are_merged() {
        let [socket, one, two] = [0; 3].map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        if !are_supported(&socket) {
            return eprintln!("SKIPPED: this kernel does not cut a datagram into segments");
        }
        let [one, two] = [one, two].map(|peer| peer.local_addr().unwrap());
        let sent = |sent, bytes| Replied { sent, bytes, dropped: 0 };
        assert_eq!(left(&socket, &[(one, 8), (one, 8)]), (0, sent(2, 16)));
        assert_eq!(left(&socket, &[(one, 8), (two, 8), (one, 8)]), (0, sent(3, 24)));
        for unfit in [[(one, 8), (two, 8)], [(one, 8), (one, 9)], [(one, 0), (one, 0)], [(one, 1473), (one, 1473)]] {
            assert_eq!(left(&socket, &unfit), (2, sent(0, 0)));
        }
    }
}
