//! Both ways do the same.

use std::io::IoSlice;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::Calls;

/// Two connected sockets of one family. The first does not block.
fn pair(v4: bool) -> Option<(OwnedFd, UdpSocket)> {
    let any = if v4 { SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) } else { SocketAddr::from((Ipv6Addr::LOCALHOST, 0)) };
    let (one, other) = (UdpSocket::bind(any).ok()?, UdpSocket::bind(any).ok()?);
    one.connect(other.local_addr().ok()?).ok()?;
    other.connect(one.local_addr().ok()?).ok()?;
    one.set_nonblocking(true).ok()?;
    Some((one.into(), other))
}

#[test]
fn datagrams_come_as_they_are_and_no_more_than_asked_for() {
    for v4 in [true, false] {
        let Some((socket, peer)) = pair(v4) else {
            eprintln!("SKIPPED: no IPv6 on this machine");
            continue;
        };
        let mut calls = Calls::new(4, v4);
        // More than once, because headers are used again.
        for _ in 0..3 {
            for datagram in [&b"one"[..], b"", b"three and more", b"four", b"five"] {
                peer.send(datagram).unwrap();
            }
            let (mut space, mut lengths) = ([0; 40], Vec::new());
            calls.receive(&socket, space.chunks_mut(10).take(3), &mut lengths).unwrap();
            assert_eq!(lengths, [3, 0, 10], "the third is cut");
            assert_eq!((&space[..3], &space[20..30]), (&b"one"[..], &b"three and "[..]));
            lengths.clear();
            calls.receive(&socket, space.chunks_mut(10), &mut lengths).unwrap();
            assert_eq!((lengths.as_slice(), &space[10..14]), (&[4, 4][..], &b"five"[..]));
            lengths.clear();
            assert_eq!(calls.receive(&socket, space.chunks_mut(10), &mut lengths), Err(Errno::AGAIN));
        }
    }
}

#[test]
fn datagrams_leave_in_their_order() {
    let (socket, peer) = pair(true).unwrap();
    let mut calls = Calls::new(4, true);
    for _ in 0..3 {
        let halves = |left, right| [IoSlice::new(left), IoSlice::new(right)];
        let datagrams = [halves(b"o", b"ne"), halves(b"", b""), halves(b"thr", b"ee")];
        assert_eq!(calls.send(&socket, &datagrams), Ok(3));
        for datagram in [&b"one"[..], b"", b"three"] {
            let mut space = [0; 10];
            let length = peer.recv(&mut space).unwrap();
            assert_eq!(&space[..length], datagram);
        }
    }
}

#[test]
fn a_datagram_to_nobody_is_refused_with_a_later_call() {
    let (socket, peer) = pair(true).unwrap();
    drop(peer);
    let mut calls = Calls::new(4, true);
    assert_eq!(calls.send(&socket, &[[IoSlice::new(b"any"), IoSlice::new(b"body")]]), Ok(1));
    let (mut space, mut lengths) = ([0; 40], Vec::new());
    let refused = || calls.receive(&socket, space.chunks_mut(10), &mut lengths) == Err(Errno::CONNREFUSED);
    parrot_testkit::wait_until("the system reports that nobody is there", refused);
}
