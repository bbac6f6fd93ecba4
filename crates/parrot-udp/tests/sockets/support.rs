//! Sockets for tests, and waiting for datagrams.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use parrot_testkit::client::datagram_client;
use parrot_testkit::wait_until;
use parrot_udp::{Batch, DatagramSocket, Destination};

pub const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
pub const ANY_IPV6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub const HERE_IPV6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
/// Linux has the whole network 127.0.0.0/8 on its loopback interface, other systems only 127.0.0.1.
pub const ALSO_HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

pub fn bound(address: IpAddr) -> DatagramSocket {
    DatagramSocket::new(UdpSocket::bind((address, 0)).unwrap()).unwrap()
}

/// A socket that takes datagrams from anywhere and waits for them with patience.
pub fn client(address: IpAddr) -> UdpSocket {
    datagram_client((address, 0))
}

/// Whether the system has this address. If it does not, says what was skipped.
pub fn exists(address: IpAddr) -> bool {
    let exists = UdpSocket::bind((address, 0)).is_ok();
    if !exists {
        eprintln!("SKIPPED: this system has no {address}");
    }
    exists
}

/// Receives once something has arrived.
pub fn receive(socket: &mut DatagramSocket, batch: &mut Batch) {
    wait_until("a datagram", || match socket.receive(batch) {
        Ok(count) => count > 0,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
            false
        }
    });
}

/// Receives and replies until as many datagrams as expected have been replied to.
pub fn echo(socket: &mut DatagramSocket, batch: &mut Batch, expected: usize) {
    let mut echoed = 0;
    while echoed < expected {
        receive(socket, batch);
        let replied = socket.reply(batch);
        assert_eq!((replied.sent, replied.dropped), (batch.len(), 0));
        echoed += replied.sent;
    }
    assert_eq!(echoed, expected);
}

/// The next datagram that a client gets, and who sent it.
pub fn reply(client: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = vec![0; 65_536];
    let (length, source) = client.recv_from(&mut bytes).unwrap();
    bytes.truncate(length);
    (bytes, source)
}

/// The port of a socket, at an address of this system.
pub fn at(address: IpAddr, socket: &DatagramSocket) -> SocketAddr {
    (address, socket.local_address().port()).into()
}

/// What the only datagram of a batch was sent to.
pub fn destination(batch: &Batch) -> Destination {
    assert_eq!(batch.len(), 1);
    batch.iter().next().unwrap().destination().unwrap()
}
