//! Datagrams to many hosts, and to addresses that only mean something together with an interface.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6, UdpSocket};

use parrot_testkit::network::{PAIR, alone, number_of};
use parrot_udp::{Batch, DatagramSocket};

use crate::support::*;

const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const GROUP: Ipv4Addr = Ipv4Addr::new(233, 252, 0, 1);
const GROUP_IPV6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x1512);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7);

fn with_interfaces(test: impl FnOnce() + Send) {
    let mut commands = PAIR.to_vec();
    commands.extend(["ip address add 192.0.2.1/24 brd + dev here", "ip address add 169.254.1.1/16 dev here"]);
    alone(&commands, test);
}

#[test]
fn a_broadcast_is_told_from_a_datagram_to_one_host() {
    with_interfaces(|| {
        let mut socket = bound(ANY);
        let client = UdpSocket::bind((OWN, 0)).unwrap();
        client.set_broadcast(true).unwrap();
        let mut batch = Batch::new();
        for (address, is_broadcast) in
            [(Ipv4Addr::new(192, 0, 2, 255), true), (OWN, false), (Ipv4Addr::LOCALHOST, false)]
        {
            client.send_to(b"squawk", at(address.into(), &socket)).unwrap();
            receive(&mut socket, &mut batch);
            let destination = destination(&batch);
            assert_eq!(destination.address(), IpAddr::V4(address));
            assert_eq!(destination.is_broadcast(), is_broadcast, "{destination:?}");
            assert!(!destination.is_multicast());
        }
        // A reply to a broadcast would leave from the interface's own address.
        client.send_to(b"squawk", at(Ipv4Addr::new(192, 0, 2, 255).into(), &socket)).unwrap();
        echo(&mut socket, &mut batch, 1);
        assert_eq!(reply(&client).1, at(OWN.into(), &socket));
    });
}

#[test]
fn the_kernel_takes_no_reply_from_a_broadcast_address() {
    // A socket for both families cannot tell the broadcast address of a network. This is why that does no harm.
    with_interfaces(|| {
        let mut socket = bound(ANY_IPV6);
        let client = UdpSocket::bind((OWN, 0)).unwrap();
        client.set_broadcast(true).unwrap();
        client.send_to(b"squawk", at(Ipv4Addr::new(192, 0, 2, 255).into(), &socket)).unwrap();
        let mut batch = Batch::new();
        receive(&mut socket, &mut batch);
        assert!(!destination(&batch).is_broadcast());
        let replied = socket.reply(&batch);
        assert_eq!((replied.sent, replied.dropped), (0, 1));
    });
}

#[test]
fn a_multicast_is_told_from_a_datagram_to_one_host() {
    with_interfaces(|| {
        let server = UdpSocket::bind((ANY, 0)).unwrap();
        server.join_multicast_v4(&GROUP, &OWN).unwrap();
        let mut socket = DatagramSocket::new(server).unwrap();
        let client = UdpSocket::bind((OWN, 0)).unwrap();
        rustix::net::sockopt::set_ip_multicast_if(&client, &OWN).unwrap();
        client.send_to(b"squawk", at(GROUP.into(), &socket)).unwrap();
        let mut batch = Batch::new();
        receive(&mut socket, &mut batch);
        let destination = destination(&batch);
        assert_eq!(destination.address(), IpAddr::V4(GROUP));
        assert_eq!(destination.interface(), number_of("here"));
        assert!(destination.is_multicast() && !destination.is_broadcast());
    });
}

#[test]
fn an_ipv6_multicast_is_told_from_a_datagram_to_one_host() {
    with_interfaces(|| {
        let interface = number_of("here");
        let server = UdpSocket::bind((ANY_IPV6, 0)).unwrap();
        server.join_multicast_v6(&GROUP_IPV6, interface).unwrap();
        let mut socket = DatagramSocket::new(server).unwrap();
        let client = UdpSocket::bind((ANY_IPV6, 0)).unwrap();
        let group = SocketAddrV6::new(GROUP_IPV6, socket.local_address().port(), 0, interface);
        client.send_to(b"squawk", group).unwrap();
        let mut batch = Batch::new();
        receive(&mut socket, &mut batch);
        assert_eq!(destination(&batch).address(), IpAddr::V6(GROUP_IPV6));
        assert!(destination(&batch).is_multicast());
    });
}

#[test]
fn a_reply_to_a_link_local_address_finds_its_interface() {
    with_interfaces(|| {
        let mut socket = bound(ANY_IPV6);
        let client = client(ANY_IPV6);
        // Both interfaces have the same address, which is why a reply needs the right one of them.
        for interface in [number_of("here"), number_of("there")] {
            let asked = SocketAddrV6::new(LINK_LOCAL, socket.local_address().port(), 0, interface);
            client.send_to(b"squawk", asked).unwrap();
            let mut batch = Batch::new();
            receive(&mut socket, &mut batch);
            assert_eq!(destination(&batch).interface(), interface);
            assert_eq!(socket.reply(&batch).sent, 1);
            assert_eq!(reply(&client), (b"squawk".to_vec(), asked.into()));
        }
    });
}

#[test]
fn a_socket_at_a_link_local_address_replies_from_there() {
    with_interfaces(|| {
        let interface = number_of("here");
        let server = UdpSocket::bind(SocketAddrV6::new(LINK_LOCAL, 0, 0, interface)).unwrap();
        let mut socket = DatagramSocket::new(server).unwrap();
        let client = client(ANY_IPV6);
        client.send_to(b"squawk", socket.local_address()).unwrap();
        let mut batch = Batch::new();
        receive(&mut socket, &mut batch);
        assert_eq!(destination(&batch).interface(), interface);
        assert_eq!(socket.reply(&batch).sent, 1);
        assert_eq!(reply(&client), (b"squawk".to_vec(), socket.local_address()));
    });
}

#[test]
fn an_ipv4_link_local_address_is_replied_from() {
    with_interfaces(|| {
        let mut socket = bound(ANY);
        let client = client(ANY);
        let asked = at(Ipv4Addr::new(169, 254, 1, 1).into(), &socket);
        client.send_to(b"squawk", asked).unwrap();
        echo(&mut socket, &mut Batch::new(), 1);
        assert_eq!(reply(&client), (b"squawk".to_vec(), asked));
    });
}
