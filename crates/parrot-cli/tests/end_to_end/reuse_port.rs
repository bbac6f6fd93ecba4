//! Several processes on one port, each with a share of the connections and datagrams.

use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};

use parrot_testkit::PATIENCE;
use parrot_testkit::client::{connect, echo};
use parrot_testkit::parrot::{Parrot, number};
use parrot_testkit::program;

use crate::support::{bare_parrot, skip, spawn};

const SPREADS: bool = cfg!(any(target_os = "linux", target_os = "freebsd"));

fn start(place: &str) -> Parrot {
    spawn(&mut bare_parrot(&["--listen", place, "--reuse-port", "--log", "off"]))
}

/// Each connection goes to one of two by a hash, so that all 64 go to the same one once in 2^63 runs.
#[test]
fn two_servers_share_the_connections_to_a_port() {
    if !SPREADS {
        let ended = program::run(&mut bare_parrot(&["--listen", "tcp:127.0.0.1:0", "--reuse-port"]));
        return assert!(ended.code == Some(1) && ended.stderr.contains("does not spread"), "{ended:?}");
    }
    let first = start("tcp:127.0.0.1:0");
    let second = start(&format!("tcp:{}", first.address()));
    let streams: Vec<TcpStream> = (0..64).map(|_| connect(first.address())).collect();
    streams.iter().for_each(|stream| echo(stream, b"squawk"));
    drop(streams);
    let accepted = [first, second].map(|parrot| number(&parrot.stop().unwrap(), "accepted").unwrap());
    assert!(accepted.iter().all(|accepted| *accepted > 0) && accepted.iter().sum::<u64>() == 64, "{accepted:?}");
}

#[test]
fn two_servers_share_the_datagrams_to_a_port() {
    if !SPREADS {
        return skip("this system does not spread the datagrams to a port");
    }
    let first = start("udp:127.0.0.1:0");
    let address: SocketAddr = first.udp_addresses()[0];
    let second = start(&format!("udp:{address}"));
    for _ in 0..64 {
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.send_to(b"squawk", address).unwrap();
        assert_eq!(client.recv(&mut [0; 16]).unwrap(), 6);
    }
    let answered = [first, second].map(|parrot| number(&parrot.stop().unwrap(), "messages").unwrap());
    assert!(answered.iter().all(|answered| *answered > 0) && answered.iter().sum::<u64>() == 64, "{answered:?}");
}
