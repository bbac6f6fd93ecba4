//! UDP sockets that the caller has bound, with options that a server has no use for.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::net::UdpSocket;

use nix::sys::socket::{TimestampingFlag, setsockopt, sockopt};
use parrot_server::{Config, Listen, Server};
use parrot_testkit::{PATIENCE, wait_for};

/// What is in the queue of errors makes every wait return, and nobody reads it.
#[test]
fn a_queue_of_errors_is_no_reason_to_spin() {
    let given = UdpSocket::bind("127.0.0.1:0").unwrap();
    setsockopt(&given, sockopt::Ipv4RecvErr, &true).unwrap();
    let sent = TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
    setsockopt(&given, sockopt::Timestamping, &sent).unwrap();
    let address = given.local_addr().unwrap();
    let server = Server::bind(Config { listen: vec![Listen::from(given)], ..Config::default() }).unwrap();
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.run());
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send_to(b"squawk", address).unwrap();
    assert_eq!(client.recv(&mut [0; 16]).unwrap(), 6);
    // A reply to a port that is closed is an error. After the last one the loop sleeps.
    drop(client);
    for _ in 0..3 {
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"squawk", address).unwrap();
    }
    wait_for("four messages", || Ok((handle.statistics().messages == 4).then_some(()))).unwrap();
    let asleep = wait_for("a loop that sleeps", || {
        let before = handle.statistics().turns;
        std::thread::sleep(std::time::Duration::from_millis(300));
        Ok((handle.statistics().turns <= before + 1).then_some(()))
    });
    assert!(asleep.is_ok(), "the loop spins: {}", handle.statistics());
    handle.drain();
    thread.join().unwrap().unwrap();
}
