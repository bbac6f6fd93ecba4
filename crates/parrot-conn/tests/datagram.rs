//! Which datagrams are answered: each rule in one test, and arbitrary datagrams.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use parrot_checks::{check_datagram, check_rules};
use parrot_conn::{Datagram, DatagramRules, Refusal};
use proptest::collection::vec;
use proptest::prelude::*;

/// The rules of a server on two ports, one of them low.
fn rules() -> DatagramRules {
    DatagramRules { own_ports: vec![1512, 7], answer_low_ports: false }
}

/// The same without the rule on low ports.
fn lifted() -> DatagramRules {
    DatagramRules { answer_low_ports: true, ..rules() }
}

fn from(address: &str, port: u16) -> Datagram {
    Datagram {
        source: SocketAddr::new(address.parse().unwrap(), port),
        destination: Some(Ipv4Addr::LOCALHOST.into()),
        sent_to_many: false,
    }
}

fn to(address: &str) -> Datagram {
    Datagram { destination: Some(address.parse().unwrap()), ..from("192.0.2.7", 50_000) }
}

#[track_caller]
fn decided(datagram: Datagram, decision: Result<(), Refusal>) {
    assert_eq!(rules().check(&datagram), decision, "{datagram:?}");
    check_rules(&rules(), &datagram);
}

#[test]
fn ordinary_sources_are_answered() {
    for address in ["192.0.2.7", "10.0.0.255", "127.0.0.1", "169.254.1.1", "2001:db8::7", "fe80::1", "::1", "fd00::1"] {
        for port in [1024, 2048, 2050, 50_000, u16::MAX] {
            decided(from(address, port), Ok(()));
        }
    }
    decided(from("::ffff:192.0.2.7", 50_000), Ok(()));
    decided(Datagram { destination: None, ..from("192.0.2.7", 50_000) }, Ok(()));
}

#[test]
fn reserved_block_is_answered_because_networks_use_it() {
    for address in ["240.0.0.1", "255.0.0.1", "255.255.255.254"] {
        decided(from(address, 50_000), Ok(()));
    }
}

#[test]
fn low_ports_and_nfs_are_refused_until_lifted() {
    for port in (1..1024).chain([2049]).filter(|port| *port != 7) {
        decided(from("192.0.2.7", port), Err(Refusal::LowPort));
        assert_eq!(lifted().check(&from("192.0.2.7", port)), Ok(()), "{port}");
    }
}

#[test]
fn own_ports_are_refused_even_if_low_ports_are_answered() {
    for port in [1512, 7] {
        decided(from("192.0.2.7", port), Err(Refusal::OwnPort));
        assert_eq!(lifted().check(&from("192.0.2.7", port)), Err(Refusal::OwnPort));
    }
}

#[test]
fn port_zero_is_refused_even_if_low_ports_are_answered() {
    decided(from("192.0.2.7", 0), Err(Refusal::PortZero));
    assert_eq!(lifted().check(&from("192.0.2.7", 0)), Err(Refusal::PortZero));
}

#[test]
fn multicast_broadcast_and_unspecified_sources_are_refused() {
    for address in [
        "224.0.0.1",
        "239.255.255.255",
        "255.255.255.255",
        "0.0.0.0",
        "0.255.255.255",
        "ff02::1",
        "ff00::",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "::",
        "::ffff:224.0.0.1",
        "::ffff:255.255.255.255",
        "::ffff:0.0.0.1",
    ] {
        decided(from(address, 50_000), Err(Refusal::Source));
        assert_eq!(lifted().check(&from(address, 50_000)), Err(Refusal::Source));
    }
}

#[test]
fn datagrams_to_many_are_refused() {
    for address in ["224.0.0.251", "255.255.255.255", "ff02::1", "::ffff:224.0.0.1", "::ffff:255.255.255.255"] {
        decided(to(address), Err(Refusal::SentToMany));
    }
    // The broadcast address of a network, which only the system knows.
    let broadcast = Datagram { sent_to_many: true, ..to("192.0.2.255") };
    decided(broadcast, Err(Refusal::SentToMany));
    decided(Datagram { destination: None, ..broadcast }, Err(Refusal::SentToMany));
    assert_eq!(lifted().check(&broadcast), Err(Refusal::SentToMany));
}

#[test]
fn the_first_reason_is_reported() {
    let mut datagram = Datagram { sent_to_many: true, ..from("0.0.0.0", 0) };
    decided(datagram, Err(Refusal::SentToMany));
    datagram.sent_to_many = false;
    decided(datagram, Err(Refusal::Source));
    datagram.source.set_ip(Ipv4Addr::LOCALHOST.into());
    decided(datagram, Err(Refusal::PortZero));
    datagram.source.set_port(7);
    decided(datagram, Err(Refusal::OwnPort));
    datagram.source.set_port(9);
    decided(datagram, Err(Refusal::LowPort));
}

#[test]
fn port_zero_is_refused_where_it_is_an_own_port() {
    let rules = DatagramRules { own_ports: vec![0], answer_low_ports: true };
    assert_eq!(rules.check(&from("192.0.2.7", 0)), Err(Refusal::PortZero));
}

#[test]
fn refusals_are_words() {
    for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
        assert_eq!(refusal as usize, index);
        let words = refusal.to_string();
        assert!(words.chars().all(|c| c.is_ascii_lowercase() || c == ' '), "{words}");
        assert_eq!(Refusal::ALL.iter().filter(|other| other.as_str() == words).count(), 1, "{words}");
    }
}

/// Any address, often one at the edge of a block.
fn address() -> impl Strategy<Value = IpAddr> {
    let edge =
        prop::sample::select(vec![0, 1, 0x00FF_FFFF, 0x0100_0000, 0xDFFF_FFFF, 0xE000_0000, 0xEFFF_FFFF, u32::MAX]);
    let four = prop_oneof![edge, any::<u32>()].prop_map(Ipv4Addr::from_bits);
    let six = prop_oneof![any::<u128>(), 0_u128..2, Just(0xFF << 120), Just(0xFE << 120)].prop_map(Ipv6Addr::from_bits);
    (four, six, 0..3).prop_map(|(four, six, kind)| match kind {
        0 => four.into(),
        1 => four.to_ipv6_mapped().into(),
        _ => six.into(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_datagram_is_refused_for_the_first_reason(
        source in address(),
        port in prop_oneof![any::<u16>(), 0_u16..3, 1020_u16..1026, 2048_u16..2051],
        destination in prop::option::of(address()),
        own_ports in vec(prop_oneof![any::<u16>(), 0_u16..3, 1020_u16..1026], 0..4),
        sent_to_many in prop::bool::weighted(0.1),
        answer_low_ports: bool,
    ) {
        let rules = DatagramRules { own_ports, answer_low_ports };
        check_rules(&rules, &Datagram { source: SocketAddr::new(source, port), destination, sent_to_many });
    }

    #[test]
    fn any_bytes_are_a_decision(bytes in vec(any::<u8>(), 0..40)) {
        check_datagram(&bytes);
    }
}
