//! Every datagram comes back whole, from the address it was sent to.

use std::net::IpAddr;

use parrot_testkit::stream::Pattern;
use parrot_udp::{Batch, DatagramSocket, Destination, replies_from_destination};

use crate::support::*;

/// Sends to `asked` and expects the same bytes back from there.
fn comes_back(socket: &mut DatagramSocket, asked: IpAddr, payload: &[u8]) {
    let client = client(if asked.is_ipv4() { ANY } else { ANY_IPV6 });
    let asked = at(asked, socket);
    client.send_to(payload, asked).unwrap();
    let mut batch = Batch::new();
    receive(socket, &mut batch);

    let datagram = batch.iter().next().unwrap();
    assert_eq!(datagram.payload(), payload);
    assert_eq!(datagram.source().port(), client.local_addr().unwrap().port());
    assert_eq!(datagram.destination().map(|destination| destination.address()), Some(asked.ip()));
    assert!(!datagram.is_truncated() && !datagram.is_refused());

    let replied = socket.reply(&batch);
    assert_eq!((replied.sent, replied.bytes, replied.dropped), (1, payload.len() as u64, 0));
    let (bytes, source) = reply(&client);
    assert_eq!(bytes, payload);
    assert_eq!(source, asked);
}

fn payloads() -> [Vec<u8>; 4] {
    [0, 1, 1472, 65_507].map(|length| Pattern(7).bytes(length))
}

#[test]
fn datagrams_of_any_length_come_back() {
    for address in [HERE, HERE_IPV6].into_iter().filter(|address| exists(*address)) {
        let mut socket = bound(address);
        for payload in payloads() {
            comes_back(&mut socket, address, &payload);
        }
    }
}

#[test]
fn a_wildcard_replies_from_the_address_that_was_asked() {
    let mut socket = bound(ANY);
    for address in [HERE, ALSO_HERE].into_iter().filter(|address| exists(*address)) {
        for payload in payloads() {
            comes_back(&mut socket, address, &payload);
        }
    }
}

#[test]
fn an_ipv6_wildcard_replies_from_the_address_that_was_asked() {
    if !replies_from_destination(ANY_IPV6) {
        return eprintln!("SKIPPED: this system does not set the source of an IPv6 datagram");
    }
    if exists(HERE_IPV6) {
        let mut socket = bound(ANY_IPV6);
        for payload in payloads() {
            comes_back(&mut socket, HERE_IPV6, &payload);
        }
    }
}

#[test]
fn a_socket_for_both_families_serves_ipv4_too() {
    let mut socket = bound(ANY_IPV6);
    let client = client(ANY);
    for address in [HERE, ALSO_HERE].into_iter().filter(|address| exists(*address)) {
        let asked = at(address, &socket);
        client.send_to(b"squawk", asked).unwrap();
        if cfg!(not(any(target_os = "linux", target_vendor = "apple"))) {
            return eprintln!("SKIPPED: an IPv6 socket takes no IPv4 datagrams on this system");
        }
        echo(&mut socket, &mut Batch::new(), 1);
        assert_eq!(reply(&client), (b"squawk".to_vec(), asked));
    }
}

#[test]
fn destinations_in_one_batch_are_not_mixed_up() {
    let mut socket = bound(ANY);
    let addresses: Vec<_> = [HERE, ALSO_HERE].into_iter().filter(|address| exists(*address)).collect();
    let clients = [client(ANY), client(ANY)];
    let mut batch = Batch::new();
    let mut asked = Vec::new();
    for index in 0..Batch::CAPACITY {
        let destination = Destination::new(addresses[index % addresses.len()], 0);
        let client = &clients[index / 2 % 2];
        let source = (HERE, client.local_addr().unwrap().port()).into();
        batch.push(source, Some(destination), &[u8::try_from(index).unwrap()]).unwrap();
        asked.push((index / 2 % 2, at(destination.address(), &socket)));
    }
    assert_eq!(socket.reply(&batch).sent, Batch::CAPACITY);

    // Replies from one address keep their order, so that the client sees those of each address in ascending order.
    for (number, client) in clients.iter().enumerate() {
        for address in &addresses {
            let asked_here = asked.iter().filter(|(client, asked)| (*client, asked.ip()) == (number, *address));
            for (_, expected) in asked_here {
                let (bytes, source) = reply(client);
                assert_eq!(source, *expected);
                assert_eq!(asked[usize::from(bytes[0])], (number, source));
            }
        }
    }
}

#[test]
fn datagrams_that_arrive_together_are_all_answered() {
    let mut socket = bound(ANY);
    let client = client(HERE);
    let count = Batch::CAPACITY + 3;
    for index in 0..count {
        client.send_to(&vec![7; index], at(HERE, &socket)).unwrap();
    }
    echo(&mut socket, &mut Batch::new(), count);
    for index in 0..count {
        assert_eq!(reply(&client), (vec![7; index], at(HERE, &socket)));
    }
}

#[test]
fn datagrams_of_one_peer_keep_their_order() {
    // Replies of one length to one peer can leave as one datagram, which Linux cuts into several.
    let mut socket = bound(HERE);
    let clients = [client(HERE), client(HERE), client(HERE)];
    for lengths in [[1; 3], [1472; 3], [1473; 3], [0; 3], [5, 6, 5]] {
        let mut batch = Batch::new();
        for index in 0..Batch::CAPACITY {
            // Two of three are from the first client, and the last client sends once only.
            let client = if index == 20 { 2 } else { usize::from(index % 3 == 2) };
            let mut payload = vec![7; lengths[index % 3]];
            payload.iter_mut().take(1).for_each(|byte| *byte = u8::try_from(index).unwrap());
            batch.push(clients[client].local_addr().unwrap(), None, &payload).unwrap();
        }
        let replied = socket.reply(&batch);
        let bytes = batch.iter().map(|datagram| datagram.payload().len() as u64).sum::<u64>();
        assert_eq!((replied.sent, replied.bytes, replied.dropped), (Batch::CAPACITY, bytes, 0));
        for client in &clients {
            let address = client.local_addr().unwrap();
            for datagram in batch.iter().filter(|datagram| datagram.source() == address) {
                assert_eq!(reply(client).0, datagram.payload());
            }
        }
    }
}

#[test]
fn sockets_of_one_thread_do_not_disturb_each_other() {
    let addresses = [HERE, ANY, HERE_IPV6, ANY_IPV6].into_iter().filter(|address| exists(*address));
    let mut sockets: Vec<_> = addresses.map(|address| (address, bound(address))).collect();
    for _ in 0..3 {
        for (address, socket) in &mut sockets {
            let asked = if address.is_ipv4() { HERE } else { HERE_IPV6 };
            if replies_from_destination(*address) && exists(asked) {
                comes_back(socket, asked, b"squawk");
            }
        }
    }
}

#[test]
fn a_refused_datagram_gets_no_reply() {
    let mut socket = bound(HERE);
    let client = client(HERE);
    let source = client.local_addr().unwrap();
    let mut batch = Batch::new();
    for payload in [b"one", b"two", b"six"] {
        batch.push(source, None, payload).unwrap();
    }
    batch.iter_mut().nth(1).unwrap().refuse();
    assert_eq!(socket.reply(&batch).sent, 2);
    assert_eq!([reply(&client).0, reply(&client).0], [b"one", b"six"]);
}

#[test]
fn a_prefix_goes_inside_the_datagram() {
    let mut socket = bound(HERE);
    let client = client(HERE);
    client.send_to(b"squawk", socket.local_address()).unwrap();
    let mut batch = Batch::with_headroom(16);
    receive(&mut socket, &mut batch);
    for mut datagram in batch.iter_mut() {
        datagram.prepend(b"parrot: ").unwrap();
        datagram.prepend(b"> ").unwrap();
        assert_eq!(datagram.get().payload(), b"> parrot: squawk");
    }
    assert_eq!(socket.reply(&batch).bytes, 16);
    assert_eq!(reply(&client).0, b"> parrot: squawk");
}
