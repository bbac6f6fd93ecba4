//! UDP: datagrams come back whole and from the right address, and the dangerous ones do not come back at all.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parrot_testkit::PATIENCE;
use parrot_testkit::client::{datagram_client, echo};
use parrot_testkit::parrot::{Parrot, number};
use parrot_testkit::stream::Pattern;
use parrot_testkit::wait_for;

use crate::support::{bare_parrot, scratch, skip, spawn};

/// The arguments of a server with both kinds of socket.
const BOTH: [&str; 6] = ["--listen", "udp:127.0.0.1:0", "--listen", "tcp:127.0.0.1:0", "--log", "off"];

fn start(arguments: &[&str]) -> Parrot {
    spawn(bare_parrot(&["--listen", "udp:127.0.0.1:0", "--log", "off"]).args(arguments))
}

fn any_client() -> UdpSocket {
    datagram_client((Ipv4Addr::LOCALHOST, 0))
}

/// Expects a datagram back, from the address that it was sent to. What is lost on the way is sent again. FreeBSD drops
/// what its queue for loopback does not hold (netisr(9)), and a test that floods fills that of all others.
fn expect_echo(client: &UdpSocket, server: SocketAddr, payload: &[u8]) {
    client.set_read_timeout(Some(PATIENCE / 5)).unwrap();
    let mut received = vec![0; 1 << 16];
    let echoed = wait_for("an echo", || {
        client.send_to(payload, server)?;
        match client.recv_from(&mut received) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            echoed => Ok(Some(echoed?)),
        }
    });
    let (n, from) = echoed.unwrap();
    assert_eq!(from, server);
    assert!(received[..n] == *payload, "{n} bytes came back for {}", payload.len());
}

/// Waits until the statistics have this number of these words.
fn until(parrot: &Parrot, count: u64, words: &str) {
    wait_for(words, || Ok((number(&parrot.handle().statistics()?, words).unwrap_or(0) == count).then_some(())))
        .unwrap();
}

#[test]
fn datagrams_of_every_length_come_back_whole() {
    let parrot = start(&[]);
    let (client, server) = (any_client(), parrot.udp_addresses()[0]);
    for length in [0, 1, 12, 1472, 1473, 9000, 65_507, 0] {
        expect_echo(&client, server, &Pattern(3).bytes(length));
    }
    assert!(parrot.stop().unwrap().contains("8 messages"));
}

/// A client drops what comes from another address than it sent to (tokio#6737).
#[test]
fn a_reply_comes_from_the_address_that_was_asked() {
    let parrot = spawn(&mut bare_parrot(&["--listen", "udp:*:0", "--log", "off"]));
    let port = parrot.udp_addresses()[0].port();
    // Linux has the whole network on loopback. Other systems have 127.0.0.1, and what somebody added.
    let addresses = [[127, 0, 0, 1], [127, 0, 0, 2], [127, 1, 2, 3]].into_iter();
    for address in addresses.filter(|address| UdpSocket::bind((Ipv4Addr::from(*address), 0)).is_ok()) {
        let server = SocketAddr::from((address, port));
        let client = any_client();
        client.connect(server).unwrap();
        client.send(b"squawk").unwrap();
        let mut received = [0; 16];
        assert_eq!(client.recv(&mut received).unwrap(), 6, "{server}");
    }
    if let Ok(client) = UdpSocket::bind("[::1]:0") {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        expect_echo(&client, SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)), b"squawk");
    }
    parrot.stop().unwrap();
}

/// Two servers that answer each other would never stop (CVE-2024-2169).
#[test]
fn a_datagram_from_a_port_of_its_own_is_not_answered() {
    let parrot = start(&[]);
    let server = parrot.udp_addresses()[0];
    let Ok(forged) = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), server.port())) else {
        return skip("this system has no second address on loopback");
    };
    forged.send_to(b"squawk", server).unwrap();
    until(&parrot, 1, "datagrams refused (own source port)");
    expect_echo(&any_client(), server, b"squawk");
    let summary = parrot.stop().unwrap();
    assert!(summary.contains("1 messages, 6 bytes in, 6 bytes out"), "{summary}");
}

#[test]
fn low_ports_are_answered_only_on_request() {
    let low = (900..1024).find_map(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).ok());
    let Some(low) = low else { return skip("this user may not take a port below 1024") };
    low.set_read_timeout(Some(PATIENCE)).unwrap();
    let parrot = start(&[]);
    low.send_to(b"squawk", parrot.udp_addresses()[0]).unwrap();
    until(&parrot, 1, "datagrams refused (low source port)");
    parrot.stop().unwrap();
    let parrot = start(&["--udp-answer-low-ports"]);
    expect_echo(&low, parrot.udp_addresses()[0], b"squawk");
    parrot.stop().unwrap();
}

#[test]
fn a_rate_bounds_the_answers_to_a_network() {
    let parrot = start(&["--udp-rate", "5"]);
    let (client, server) = (any_client(), parrot.udp_addresses()[0]);
    for _ in 0..50 {
        client.send_to(b"squawk", server).unwrap();
    }
    let statistics = wait_for("all datagrams", || {
        let statistics = parrot.handle().statistics()?;
        let refused = number(&statistics, "datagrams refused (rate limited)").unwrap_or(0);
        Ok((number(&statistics, "messages")? + refused == 50).then_some(statistics))
    });
    // The bucket has five and gets another one every 200 ms.
    let answered = number(&statistics.unwrap(), "messages").unwrap();
    assert!((5..=45).contains(&answered), "{answered} answers");
    parrot.stop().unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn drops_of_the_system_are_counted() {
    let parrot = start(&[]);
    let (client, server) = (any_client(), parrot.udp_addresses()[0]);
    parrot.pause().unwrap();
    for _ in 0..200 {
        client.send_to(&[0; 60_000], server).unwrap();
    }
    parrot.signal(rustix::process::Signal::CONT).unwrap();
    let statistics = wait_for("all datagrams", || {
        let statistics = parrot.handle().statistics()?;
        let dropped = number(&statistics, "datagrams dropped on their way in").unwrap_or(0);
        Ok((number(&statistics, "messages")? + dropped == 200).then_some(dropped))
    });
    assert!(statistics.unwrap() > 0);
    parrot.stop().unwrap();
}

#[test]
fn a_flood_of_datagrams_does_not_starve_connections() {
    let parrot = spawn(&mut bare_parrot(&BOTH));
    let server = parrot.udp_addresses()[0];
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (client, began) = (any_client(), Instant::now());
            while !stop.load(Ordering::Relaxed) && began.elapsed() < PATIENCE {
                let _ = client.send_to(&[0; 512], server);
            }
        });
        let stream = parrot.connect();
        for _ in 0..200 {
            echo(&stream, b"squawk");
        }
        stop.store(true, Ordering::Relaxed);
    });
    parrot.stop().unwrap();
}

#[test]
fn busy_connections_do_not_starve_datagrams() {
    let parrot = spawn(&mut bare_parrot(&BOTH));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let (stream, began) = (parrot.connect(), Instant::now());
                while !stop.load(Ordering::Relaxed) && began.elapsed() < PATIENCE {
                    echo(&stream, &[0; 64 << 10]);
                }
            });
        }
        let client = any_client();
        for _ in 0..200 {
            expect_echo(&client, parrot.udp_addresses()[0], b"squawk");
        }
        stop.store(true, Ordering::Relaxed);
    });
    parrot.stop().unwrap();
}

#[test]
fn a_reply_that_nobody_takes_ends_nothing() {
    let parrot = start(&[]);
    let server = parrot.udp_addresses()[0];
    for _ in 0..20 {
        // The port is closed again, so each reply leads to an ICMP error.
        any_client().send_to(b"squawk", server).unwrap();
        expect_echo(&any_client(), server, b"squawk");
    }
    parrot.stop().unwrap();
}

#[test]
fn each_datagram_is_a_line_of_the_log() {
    let log = scratch("udp-log");
    let parrot = spawn(bare_parrot(&["--listen", "udp:127.0.0.1:0", "--log-file"]).arg(&log));
    let client = any_client();
    expect_echo(&client, parrot.udp_addresses()[0], b"squawk");
    expect_echo(&client, parrot.udp_addresses()[0], b"");
    parrot.stop().unwrap();
    let lines = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    let peer = client.local_addr().unwrap().to_string();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.starts_with(&peer)), "{lines:?}");
    assert!(lines[0].ends_with("\"squawk\" 6") && lines[1].ends_with("\"\" 0"), "{lines:?}");
    fs::remove_file(&log).unwrap();
}

#[test]
fn a_drain_ends_udp_at_once() {
    let mut parrot = start(&[]);
    let server = parrot.udp_addresses()[0];
    expect_echo(&any_client(), server, b"squawk");
    parrot.signal(rustix::process::Signal::TERM).unwrap();
    parrot.wait_for_summary().unwrap();
    UdpSocket::bind(server).expect("the port is free again");
}

#[test]
fn a_second_server_cannot_take_the_port() {
    let parrot = start(&[]);
    let server = parrot.udp_addresses()[0];
    assert_eq!(UdpSocket::bind(server).unwrap_err().kind(), ErrorKind::AddrInUse);
    let place = format!("udp:{server}");
    let ended = parrot_testkit::program::run(&mut bare_parrot(&["--listen", &place, "--log", "off"]));
    assert!(ended.code == Some(1) && ended.stderr.contains("is taken"), "{ended:?}");
    parrot.stop().unwrap();
}

#[test]
fn without_being_asked_for_there_is_no_udp() {
    let parrot = spawn(&mut bare_parrot(&["--listen", "tcp:127.0.0.1:0", "--log", "off"]));
    let client = any_client();
    client.connect(parrot.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE / 5)).unwrap();
    // An ICMP error comes back in place of a datagram. What is lost is sent again, as in `expect_echo`.
    let answer = wait_for("an answer", || match client.send(b"squawk").and_then(|_| client.recv(&mut [0; 16])) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        answer => Ok(Some(answer)),
    });
    assert_eq!(answer.unwrap().unwrap_err().kind(), ErrorKind::ConnectionRefused);
    parrot.stop().unwrap();
}

/// Every host of a network could answer such a datagram.
#[test]
#[cfg(target_os = "linux")]
fn a_broadcast_datagram_is_not_answered() {
    let parrot = spawn(&mut bare_parrot(&["--listen", "udp:0.0.0.0:0", "--log", "off"]));
    let client = any_client();
    client.set_broadcast(true).unwrap();
    client.send_to(b"squawk", (Ipv4Addr::new(127, 255, 255, 255), parrot.udp_addresses()[0].port())).unwrap();
    until(&parrot, 1, "datagrams refused (sent to many)");
    assert!(parrot.stop().unwrap().contains("0 messages"));
}

/// Its replies would leave from another address, and every host of the network could answer.
#[test]
#[cfg(target_os = "linux")]
fn a_broadcast_address_is_refused_at_the_start() {
    let ended = parrot_testkit::program::run(&mut bare_parrot(&["--listen", "udp:127.255.255.255:0"]));
    assert!(ended.code == Some(1) && ended.stderr.contains("broadcast"), "{ended:?}");
}
