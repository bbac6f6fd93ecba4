//! Faults of datagrams, exactly as their seed predicts them.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Instant;

use parrot_server::fault::{Chances, Fate, Fault, FaultPlan, FaultRule, Share};
use parrot_testkit::client::datagram_client;
use parrot_testkit::parrot::{Parrot, number};

use super::milliseconds;
use crate::support::{bare_parrot, spawn};

const SEED: u64 = 1512;

fn start(faults: &[&str]) -> Parrot {
    let arguments = faults.iter().flat_map(|fault| ["--fault", *fault]);
    spawn(bare_parrot(&["--listen", "udp:127.0.0.1:0", "--log", "off", "--seed", "1512"]).args(arguments))
}

fn percent(number: u32) -> Share {
    Share::from_percent(number).unwrap()
}

fn fates(faults: impl IntoIterator<Item = Fault>, count: u64) -> Vec<Fate> {
    let plan = FaultPlan::new(SEED, faults.into_iter().map(FaultRule::from)).unwrap();
    (1..=count).map(|number| plan.datagram(number)).collect()
}

fn receive(client: &UdpSocket, server: SocketAddr) -> Vec<u8> {
    let mut space = [0; 2048];
    let (n, from) = client.recv_from(&mut space).unwrap();
    assert_eq!(from, server);
    space[..n].to_vec()
}

#[test]
fn datagrams_are_lost_doubled_and_corrupted_as_the_seed_says() {
    let parrot = start(&["loss=20%", "duplicate=20%", "corrupt=20%"]);
    let (server, client) = (parrot.udp_addresses()[0], datagram_client((Ipv4Addr::LOCALHOST, 0)));
    let faults = [Fault::Loss(percent(20)), Fault::Duplicate(percent(20)), Fault::Corrupt(percent(20))];
    let fates = fates(faults, 200);
    for (number, fate) in fates.iter().enumerate() {
        let payload = format!("datagram {number:03}").into_bytes();
        client.send_to(&payload, server).unwrap();
        let mut expected = payload.clone();
        fate.corrupt(&mut expected);
        assert_eq!(expected != payload, fate.is_corrupted());
        // If one that is to be lost came after all, the next one would not be as expected.
        for copy in 0..fate.copies {
            assert_eq!(receive(&client, server), expected, "copy {copy} of number {number}, {fate:?}");
        }
    }
    let has = |is: fn(&Fate) -> bool| fates.iter().filter(|fate| is(fate)).count() as u64;
    let (lost, doubled, wrong) = (has(|fate| fate.copies == 0), has(|fate| fate.copies == 2), has(Fate::is_corrupted));
    assert!(lost > 0 && doubled > 0 && wrong > 0, "{lost}, {doubled} and {wrong} of 200");
    let summary = parrot.stop().unwrap();
    assert_eq!(number(&summary, "datagrams sent").unwrap(), 200 - lost + doubled, "{summary}");
    for (count, kind) in [(lost, "loss"), (doubled, "duplicate"), (wrong, "corrupt")] {
        assert_eq!(number(&summary, &format!("with fault {kind}")).unwrap(), count, "{summary}");
    }
}

#[test]
fn a_reordered_datagram_leaves_behind_the_next() {
    let parrot = start(&["reorder=100%"]);
    let (server, client) = (parrot.udp_addresses()[0], datagram_client((Ipv4Addr::LOCALHOST, 0)));
    // One that is alone for too long leaves alone, which a busy machine can bring about.
    let swapped = (0..5).any(|_| {
        client.send_to(b"first", server).unwrap();
        client.send_to(b"second", server).unwrap();
        let received = [receive(&client, server), receive(&client, server)];
        let mut sorted = received.clone();
        sorted.sort();
        assert_eq!(sorted, [b"first".to_vec(), b"second".to_vec()]);
        received[0] == b"second"
    });
    assert!(swapped);
    let begin = Instant::now();
    client.send_to(b"alone", server).unwrap();
    assert_eq!(receive(&client, server), b"alone");
    assert!(begin.elapsed() >= milliseconds(100));
}

#[test]
fn a_datagram_is_as_late_as_it_was_asked_to_be() {
    let parrot = start(&["latency=150ms,jitter=100ms"]);
    let (server, client) = (parrot.udp_addresses()[0], datagram_client((Ipv4Addr::LOCALHOST, 0)));
    let latency = Fault::Latency { delay: Chances::always(milliseconds(150)), jitter: milliseconds(100) };
    for fate in fates([latency], 5) {
        let begin = Instant::now();
        client.send_to(b"squawk", server).unwrap();
        assert_eq!(receive(&client, server), b"squawk");
        assert!(begin.elapsed() >= fate.delay, "{:?} of {fate:?}", begin.elapsed());
    }
}

#[test]
fn late_datagrams_take_a_bounded_amount_of_memory() {
    let parrot = start(&["latency=1h"]);
    let (server, client) = (parrot.udp_addresses()[0], datagram_client((Ipv4Addr::LOCALHOST, 0)));
    let (payload, mut sent) = (vec![7; 60_000], 0);
    // 1 MiB is held for a socket, and the system may drop some on the way.
    parrot_testkit::wait_for("answers are dropped", || {
        for _ in 0..4 {
            client.send_to(&payload, server)?;
            sent += 1;
        }
        let statistics = parrot.handle().statistics()?;
        Ok(number(&statistics, "datagrams dropped on their way out").ok().filter(|dropped| *dropped > 0))
    })
    .unwrap();
    assert!(sent >= 17, "{sent} datagrams of 60,000 bytes");
    // A drain does not wait for them.
    let summary = parrot.stop().unwrap();
    let dropped = number(&summary, "datagrams dropped on their way out").unwrap();
    assert_eq!(dropped, number(&summary, "messages").unwrap(), "{summary}");
}
