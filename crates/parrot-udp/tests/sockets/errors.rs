//! What the system drops or refuses.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};

use parrot_testkit::network::alone;
use parrot_testkit::wait_until;
use parrot_udp::{Batch, DatagramSocket};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};

use crate::support::*;

#[test]
fn receiving_nothing_would_block() {
    for address in [HERE, ANY] {
        let mut batch = Batch::new();
        batch.push((HERE, 1).into(), None, b"old").unwrap();
        assert_eq!(bound(address).receive(&mut batch).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(batch.is_empty());
    }
}

#[test]
fn an_unbound_socket_is_refused() {
    // Sending would bind it. What std offers is always bound, so only a descriptor from elsewhere can be like this.
    let unbound = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None).unwrap();
    let error = DatagramSocket::new(UdpSocket::from(unbound)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn an_icmp_error_is_no_datagram_and_the_next_call_goes_on() {
    let closed = UdpSocket::bind((HERE, 0)).unwrap().local_addr().unwrap();
    let connected = UdpSocket::bind((HERE, 0)).unwrap();
    connected.connect(closed).unwrap();
    connected.send(b"squawk").unwrap();
    let mut socket = DatagramSocket::new(connected).unwrap();

    let mut batch = Batch::new();
    wait_until("an error from the closed port", || {
        let error = socket.receive(&mut batch).unwrap_err();
        error.kind() == ErrorKind::ConnectionRefused
    });
    assert!(batch.is_empty());
    assert_eq!(socket.receive(&mut batch).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_datagram_that_is_too_long_costs_no_other_one() {
    let mut socket = bound(HERE);
    let client = client(HERE);
    let source = client.local_addr().unwrap();
    let mut batch = Batch::with_headroom(1);
    for payload in [b"before".as_slice(), &vec![0; 65_507], b"after"] {
        batch.push(source, None, payload).unwrap();
    }
    batch.iter_mut().nth(1).unwrap().prepend(b">").unwrap();
    let replied = socket.reply(&batch);
    assert_eq!((replied.sent, replied.bytes, replied.dropped), (2, 11, 1));
    assert_eq!([reply(&client).0, reply(&client).0], [b"before".to_vec(), b"after".to_vec()]);
}

#[test]
fn datagrams_too_long_for_the_path_arrive_in_fragments() {
    // Linux takes no segments that are longer than the path's MTU.
    alone(&["ip link set lo mtu 1000"], || {
        let mut socket = bound(ANY);
        let client = client(HERE);
        let mut batch = Batch::new();
        for byte in 0..5 {
            batch.push(client.local_addr().unwrap(), None, &[byte; 1200]).unwrap();
        }
        assert_eq!(socket.reply(&batch).sent, 5);
        for byte in 0..5 {
            assert_eq!(reply(&client).0, [byte; 1200]);
        }
    });
}

#[test]
fn a_source_of_the_other_family_is_dropped() {
    let mut batch = Batch::new();
    batch.push((HERE_IPV6, 9).into(), None, b"squawk").unwrap();
    let replied = bound(HERE).reply(&batch);
    assert_eq!((replied.sent, replied.dropped), (0, 1));
}

#[test]
fn what_does_not_fit_the_send_buffer_is_dropped_and_counted() {
    // Nobody has the address that is sent to, so the datagrams wait for its link-layer address and fill the buffer.
    let commands = [
        "ip link add here type veth peer name there",
        "ip link set here up && ip link set there up",
        "ip address add 192.0.2.1/24 dev here",
    ];
    // Datagrams of one length can leave as one, and others cannot.
    for lengths in [[1000, 1000], [1000, 900]] {
        alone(&commands, || {
            let mut socket = bound(ANY);
            set_socket_send_buffer_size(&socket, 1).unwrap();
            let mut batch = Batch::new();
            for index in 0..Batch::CAPACITY {
                let payload = &[0; 1000][..lengths[index % 2]];
                batch.push((Ipv4Addr::new(192, 0, 2, 9), 9).into(), None, payload).unwrap();
            }
            let replied = [socket.reply(&batch), socket.reply(&batch)];
            assert!(replied[0].sent > 0 && replied[1].dropped > 0, "{replied:?}");
            assert!(replied.iter().all(|replied| replied.sent + replied.dropped == Batch::CAPACITY));
        });
    }
}

#[test]
fn what_does_not_fit_the_receive_buffer_is_counted() {
    let mut socket = bound(ANY);
    let client = client(HERE);
    set_socket_recv_buffer_size(&socket, 1).unwrap();
    assert_eq!(socket.take_drops(), cfg!(target_os = "linux").then_some(0));
    if cfg!(not(target_os = "linux")) {
        return eprintln!("SKIPPED: this system does not count what a socket drops");
    }
    let mut batch = Batch::new();
    for sent in [100, 50] {
        for _ in 0..sent {
            client.send_to(&[0; 1000], at(HERE, &socket)).unwrap();
        }
        let (mut received, mut dropped) = (0, 0);
        wait_until("each datagram", || {
            received += u32::try_from(socket.receive(&mut batch).unwrap_or_default()).unwrap();
            dropped += socket.take_drops().unwrap();
            received + dropped >= sent
        });
        assert_eq!(received + dropped, sent);
        assert!(dropped > 0);
    }
    assert_eq!(socket.take_drops(), Some(0));
}
