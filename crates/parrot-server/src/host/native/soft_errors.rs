//! An ICMP error that does not end a connection must not end it in a peek either.

#![allow(clippy::indexing_slicing, reason = "in a test an index out of bounds is a failure")]

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrV4, SocketType, ipproto, recv, sendto, socket, sockopt,
};

use super::tests::{accepted, host, listen};
use crate::host::Host as _;

const PATIENCE: Duration = Duration::from_secs(20);

const IPV4_HEADER: usize = 20;

#[test]
fn a_peek_does_not_take_an_icmp_error_for_the_end() {
    let (segments, icmp) = match [ipproto::TCP, ipproto::ICMP]
        .map(|protocol| socket(AddressFamily::INET, SocketType::RAW, Some(protocol)))
    {
        [Ok(segments), Ok(icmp)] => (segments, icmp),
        [Err(error), _] | [_, Err(error)] => {
            return println!("skipped: raw sockets need CAP_NET_RAW ({error})");
        }
    };
    let (listener, address) = &listen();
    let mut client = TcpStream::connect(address).unwrap();
    let ports = (address.port(), client.local_addr().unwrap().port());
    let mut host = host();
    let connection = accepted(&mut host, listener);

    // The kernel believes an ICMP error that quotes a sequence number in flight: `tcp_v4_err` in net/ipv4/tcp_ipv4.c.
    let first = loop {
        let mut descriptors = [PollFd::new(&segments, PollFlags::IN)];
        let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
        assert_eq!(poll(&mut descriptors, Some(&patience)).unwrap(), 1, "no answer to the connection's SYN was seen");
        let mut packet = [0; 1500];
        let (n, _) = recv(&segments, &mut packet, RecvFlags::empty()).unwrap();
        let segment = &packet[IPV4_HEADER..n];
        let number = |at: usize| u16::from_be_bytes([segment[at], segment[at + 1]]);
        let is_syn = segment[13] & 2 != 0;
        if is_syn && (number(0), number(2)) == ports {
            break u32::from_be_bytes([segment[4], segment[5], segment[6], segment[7]]).wrapping_add(1);
        }
    };
    // Only after the bytes, because an acknowledgement that comes with them clears the noted error (`tcp_ack`, tcp_input.c).
    client.write_all(b"squawk").unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut byte = [0];
    while recv(&connection, &mut byte, RecvFlags::PEEK).is_err() {
        assert!(Instant::now() < deadline, "the bytes have not come");
        std::thread::yield_now();
    }
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    sendto(&icmp, &host_unreachable(ports, first), SendFlags::empty(), &to).unwrap();

    let noted = loop {
        assert_eq!(host.peek(&connection, &mut [0]).unwrap(), 1);
        if let Err(noted) = sockopt::socket_error(&connection).unwrap() {
            break noted;
        }
        assert!(Instant::now() < deadline, "the ICMP error has not come");
        std::thread::yield_now();
    };
    assert_eq!(noted, Errno::HOSTUNREACH);
}

/// RFC 792: type 3, code 1, and the head of the packet that caused it.
fn host_unreachable((from, to): (u16, u16), sequence: u32) -> Vec<u8> {
    let local = Ipv4Addr::LOCALHOST.octets();
    let mut message = vec![3, 1, 0, 0, 0, 0, 0, 0];
    message.extend([0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0]);
    message.extend(local);
    message.extend(local);
    message.extend(from.to_be_bytes());
    message.extend(to.to_be_bytes());
    message.extend(sequence.to_be_bytes());
    let sum: u32 = message.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}
