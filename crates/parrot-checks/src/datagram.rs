//! Any datagram under any rules, beside a list of all reasons not to answer it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use parrot_conn::{Datagram, DatagramRules, Refusal};

/// Checks the decision about the datagram in an input: what its addresses are, two own ports, its source port, 16 bytes
/// for the source and 16 for the destination.
pub fn check_datagram(input: &[u8]) {
    let Some((&[kinds, a, b, c, d, e, f], rest)) = input.split_first_chunk() else { return };
    let Some((source, rest)) = rest.split_first_chunk() else { return };
    let destination = rest.first_chunk().map(|bytes| address(kinds >> 2, *bytes));
    let rules = DatagramRules {
        own_ports: vec![u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])],
        answer_low_ports: kinds & 0x10 != 0,
    };
    let source = SocketAddr::new(address(kinds, *source), u16::from_be_bytes([e, f]));
    check_rules(&rules, &Datagram { source, destination, sent_to_many: kinds & 0x20 != 0 });
}

fn address(kind: u8, bytes: [u8; 16]) -> IpAddr {
    let [a, b, c, d, ..] = bytes;
    let four = Ipv4Addr::new(a, b, c, d);
    match kind & 3 {
        0 => four.into(),
        1 => four.to_ipv6_mapped().into(),
        2 => Ipv6Addr::from(bytes).into(),
        _ => IpAddr::from([u16::from(a), 0, 0, 0, 0, 0, u16::from(b), u16::from(c)]),
    }
}

/// Checks the decision, what lifting a rule changes, and that no answer is answered.
pub fn check_rules(rules: &DatagramRules, datagram: &Datagram) {
    let reasons: Vec<Refusal> = Refusal::ALL.into_iter().filter(|reason| applies(*reason, rules, datagram)).collect();
    let decision = rules.check(datagram);
    assert_eq!(decision.err(), reasons.first().copied(), "{datagram:?} under {rules:?}");

    let lifted = DatagramRules { answer_low_ports: true, ..rules.clone() };
    let expected = decision.or_else(|reason| if reason == Refusal::LowPort { Ok(()) } else { Err(reason) });
    assert_eq!(lifted.check(datagram), expected, "{datagram:?} under {lifted:?}");

    for &port in &rules.own_ports {
        let source = SocketAddr::new(datagram.destination.unwrap_or(Ipv4Addr::LOCALHOST.into()), port);
        let answer = Datagram { source, destination: Some(datagram.source.ip()), sent_to_many: false };
        assert!(lifted.check(&answer).is_err(), "it answers an answer: {answer:?}");
    }
}

/// Whether this is a reason not to answer, whatever the others say.
fn applies(reason: Refusal, rules: &DatagramRules, datagram: &Datagram) -> bool {
    let (source, port) = (datagram.source.ip(), datagram.source.port());
    match reason {
        Refusal::SentToMany => datagram.sent_to_many || datagram.destination.is_some_and(is_many),
        Refusal::Source => is_many(source) || is_nobody(source),
        Refusal::PortZero => port == 0,
        Refusal::OwnPort => rules.own_ports.contains(&port),
        Refusal::LowPort => !rules.answer_low_ports && matches!(port, 0..=1023 | 2049),
        _ => false,
    }
}

/// The number of an IPv4 address, mapped or not.
fn four(address: IpAddr) -> Result<u32, u128> {
    match address {
        IpAddr::V4(address) => Ok(address.to_bits()),
        IpAddr::V6(address) if address.to_bits() >> 32 == 0xFFFF => Ok(address.to_bits() as u32),
        IpAddr::V6(address) => Err(address.to_bits()),
    }
}

fn is_many(address: IpAddr) -> bool {
    match four(address) {
        Ok(number) => number >> 28 == 0xE || number == u32::MAX,
        Err(number) => number >> 120 == 0xFF,
    }
}

fn is_nobody(address: IpAddr) -> bool {
    match four(address) {
        Ok(number) => number < 1 << 24,
        Err(number) => number == 0,
    }
}
