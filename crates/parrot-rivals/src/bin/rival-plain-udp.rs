//! The bare loop over UDP: recvfrom, sendto, and nothing else.
//!
//! One socket needs no event queue, so the socket blocks. Waiting in poll or epoll would be a third call for a datagram
//! that arrives alone, and would change nothing while datagrams are waiting. A careful server can only be faster by
//! making fewer calls.

use std::io;
use std::net::UdpSocket;

/// More than the longest datagram has, which is 65,507 bytes over IPv4.
const LONGEST: usize = 65_535;

fn main() -> io::Result<()> {
    let socket = UdpSocket::bind(parrot_rivals::address()?)?;
    let mut buffer = vec![0; LONGEST];
    loop {
        let (count, peer) = match socket.recv_from(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            received => received?,
        };
        // A reply that the socket does not take is lost, as UDP allows.
        let _ = socket.send_to(buffer.get(..count).unwrap_or_default(), peer);
    }
}
