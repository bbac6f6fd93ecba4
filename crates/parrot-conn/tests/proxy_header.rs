//! The rules of PROXY protocol headers, each in one test, and arbitrary headers.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::slice;

use parrot_checks::{check_proxy_header, read_header};
use parrot_conn::{Endpoints, HeaderError, HeaderProgress, ProxyHeader};
use proptest::collection::vec;
use proptest::prelude::*;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

/// A header of version 2, with `block` after its first 16 bytes.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    announcing(command, family, u16::try_from(block.len()).unwrap(), block)
}

/// The same with any length in it.
fn announcing(command: u8, family: u8, length: u16, block: &[u8]) -> Vec<u8> {
    [SIGNATURE, &[command, family], &length.to_be_bytes(), block].concat()
}

fn proxied(source: &str, destination: &str) -> Endpoints {
    Endpoints::Proxied { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

/// The addresses and ports as version 2 has them.
fn block(endpoints: Endpoints) -> Vec<u8> {
    let Endpoints::Proxied { source, destination } = endpoints else { return Vec::new() };
    let octets = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()];
    [octets(source), octets(destination), ports.concat()].concat()
}

fn ipv4() -> Endpoints {
    proxied("192.0.2.7:50000", "198.51.100.1:1512")
}

fn ipv6() -> Endpoints {
    proxied("[2001:db8::7]:50000", "[2001:db8::1]:1512")
}

/// Checks that this is a header, in every pair of pieces and in single bytes, with and without a message behind it.
#[track_caller]
fn accepted(header: impl AsRef<[u8]>, endpoints: Endpoints) {
    let header = header.as_ref();
    let complete = Ok(Some((header.len(), endpoints)));
    for message in [&b""[..], b"Hello", b"\r\n", b"PROXY UNKNOWN\r\n", SIGNATURE] {
        let stream = [header, message].concat();
        assert_eq!(read_header([&stream[..]]), complete);
        assert_eq!(read_header(stream.iter().map(slice::from_ref)), complete, "in single bytes");
        for at in 0..=stream.len() {
            let (first, second) = stream.split_at(at);
            assert_eq!(read_header([first, second]), complete, "split after {at} bytes");
        }
    }
    for length in 0..header.len() {
        assert_eq!(read_header([&header[..length]]), Ok(None), "{length} bytes of it");
    }
    check_proxy_header(&[&[0], header].concat());
}

/// Checks that this is refused with its last byte and not before.
#[track_caller]
fn refused(stream: impl AsRef<[u8]>, reason: HeaderError) {
    let stream = stream.as_ref();
    let before = stream.len() - 1;
    assert_eq!(read_header([&stream[..before]]), Ok(None), "without its last byte");
    assert_eq!(read_header([stream]), Err(reason));
    assert_eq!(read_header(stream.iter().map(slice::from_ref)), Err(reason), "in single bytes");
    check_proxy_header(&[&[0], stream, b"Hello, Parrot\r\n"].concat());
}

#[test]
fn text_has_two_addresses_and_two_ports() {
    accepted("PROXY TCP4 192.0.2.7 198.51.100.1 50000 1512\r\n", ipv4());
    accepted("PROXY TCP6 2001:db8::7 2001:db8::1 50000 1512\r\n", ipv6());
    accepted("PROXY TCP6 2001:0DB8:0:0:0:0:0:0007 2001:dB8::1 50000 1512\r\n", ipv6());
    accepted("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", proxied("0.0.0.0:0", "255.255.255.255:65535"));
    accepted("PROXY TCP6 :: 1:2:3:4:5:6:7:8 0 1\r\n", proxied("[::]:0", "[1:2:3:4:5:6:7:8]:1"));
}

#[test]
fn text_has_mapped_addresses_as_systems_write_them() {
    let mapped = proxied("[::ffff:192.0.2.7]:1", "[::ffff:198.51.100.1]:2");
    accepted("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 1 2\r\n", mapped);
}

#[test]
fn text_of_107_bytes_is_the_longest() {
    let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let line = format!("PROXY UNKNOWN {longest} {longest} 65535 65535\r\n");
    assert_eq!(line.len(), 107);
    accepted(line, Endpoints::Own);
    let start = format!("PROXY UNKNOWN {}", "x".repeat(92));
    refused(format!("{start}\r"), HeaderError::TooLong);
    refused(format!("{start}x"), HeaderError::TooLong);
    let start = format!("PROXY TCP4 {}", "1".repeat(95));
    refused(format!("{start}1"), HeaderError::TooLong);
}

#[test]
fn unknown_protocol_in_text_keeps_the_own_addresses() {
    accepted("PROXY UNKNOWN\r\n", Endpoints::Own);
    accepted("PROXY UNKNOWN \r\n", Endpoints::Own);
    accepted("PROXY UNKNOWN 192.0.2.7 198.51.100.1 50000 1512\r\n", Endpoints::Own);
}

#[test]
fn all_is_ignored_between_unknown_and_crlf() {
    accepted(b"PROXY UNKNOWN  \r \n \0 \xFF TCP4\r\r\n", Endpoints::Own);
}

#[test]
fn unknown_is_a_whole_word() {
    refused("PROXY UNKNOWNS", HeaderError::Protocol);
    refused("PROXY UNKNOWN\n", HeaderError::Protocol);
    refused("PROXY UNKNOWN\r\r", HeaderError::Line);
}

#[test]
fn other_protocols_in_text_are_refused() {
    for stream in ["PROXY TCP5", "PROXY UD", "PROXY  ", "PROXY t", "PROXY TCP4\r", "PROXY TCP6\t", "PROXY \r"] {
        refused(stream, HeaderError::Protocol);
    }
}

#[test]
fn cr_or_lf_alone_does_not_end_a_line() {
    refused("PROXY TCP4 192.0.2.7 198.51.100.1 50000 1512\n", HeaderError::Line);
    refused("PROXY TCP4 192.0.2.7 198.51.100.1 50000 1512\r ", HeaderError::Line);
    refused("PROXY TCP4 192.0.2.7 198.51.100.1 50000 1512\r\r", HeaderError::Line);
    refused("PROXY TCP6 \n", HeaderError::Line);
}

#[test]
fn text_has_exactly_four_fields() {
    refused("PROXY TCP4 \r\n", HeaderError::Line);
    refused("PROXY TCP4 192.0.2.7 198.51.100.1 50000\r\n", HeaderError::Line);
    refused("PROXY TCP4 192.0.2.7 198.51.100.1 50000 1512 \r\n", HeaderError::Line);
    refused("PROXY TCP4 192.0.2.7 198.51.100.1 50000 1512 1\r\n", HeaderError::Line);
    refused("PROXY TCP4  192.0.2.7 198.51.100.1 50000 1512\r\n", HeaderError::Line);
}

#[test]
fn addresses_in_text_are_of_their_family_and_canonical() {
    let four =
        ["", "::1", "192.0.2", "192.0.2.7.1", "192.0.2.256", "192.0.2.07", "00.0.2.7", "0x1.0.2.7", "192.0.2.+7"];
    let six =
        ["", "192.0.2.7", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::", "::1%1", "[::1]", "g::", ":::"];
    for (family, good, bad) in [("TCP4", "192.0.2.7", &four[..]), ("TCP6", "::1", &six)] {
        for bad in bad {
            refused(format!("PROXY {family} {bad} {good} 1 2\r\n"), HeaderError::Address);
            refused(format!("PROXY {family} {good} {bad} 1 2\r\n"), HeaderError::Address);
        }
    }
    refused(b"PROXY TCP4 192.0.2.\xB2 192.0.2.7 1 2\r\n", HeaderError::Address);
}

#[test]
fn ports_in_text_are_plain_numbers_without_leading_zeros() {
    for bad in ["", "00", "01", "+1", "-1", "65536", "99999999999999999999", "1x", "0x1", "0.", "\t1", "1\u{B2}"] {
        refused(format!("PROXY TCP4 192.0.2.7 198.51.100.1 {bad} 2\r\n"), HeaderError::Port);
        refused(format!("PROXY TCP6 2001:db8::7 2001:db8::1 1 {bad}\r\n"), HeaderError::Port);
    }
}

#[test]
fn streams_without_a_header_are_refused_at_once() {
    refused("G", HeaderError::Missing);
    refused("\n", HeaderError::Missing);
    refused("PROXX", HeaderError::Missing);
    refused("PROXY\t", HeaderError::Missing);
    refused("PROXY\r", HeaderError::Missing);
    refused("p", HeaderError::Missing);
    refused("PP", HeaderError::Missing);
    refused("\r\n\r\n\r", HeaderError::Missing);
    refused(b"\r\n\r\n\0\r\nQUIT\r", HeaderError::Missing);
}

#[test]
fn binary_has_addresses_and_ports_of_streams_and_datagrams() {
    for protocol in [1, 2] {
        accepted(binary(PROXY, 0x10 + protocol, &block(ipv4())), ipv4());
        accepted(binary(PROXY, 0x20 + protocol, &block(ipv6())), ipv6());
    }
}

#[test]
fn extensions_after_the_addresses_are_skipped() {
    let extensions = b"\x02\0\x0Bexample.org\x04\0\x03\r\n\0";
    accepted(binary(PROXY, 0x11, &[&block(ipv4()), &extensions[..]].concat()), ipv4());
    accepted(binary(PROXY, 0x21, &[&block(ipv6()), &extensions[..]].concat()), ipv6());
    accepted(binary(LOCAL, 0, extensions), Endpoints::Own);
}

#[test]
fn extensions_are_not_read() {
    let broken = b"\x02\xFF\xFFtoo short";
    accepted(binary(PROXY, 0x11, &[&block(ipv4()), &broken[..]].concat()), ipv4());
    let wrong_checksum = b"\x03\0\x04\0\0\0\0";
    accepted(binary(PROXY, 0x11, &[&block(ipv4()), &wrong_checksum[..]].concat()), ipv4());
}

#[test]
fn local_is_accepted_whatever_its_family() {
    for family in 0..=u8::MAX {
        for length in [0, 1, 12, 40] {
            let header = binary(LOCAL, family, &vec![b'x'; length]);
            assert_eq!(read_header([&header[..]]), Ok(Some((header.len(), Endpoints::Own))), "family {family:#x}");
        }
    }
    accepted(binary(LOCAL, 0, b""), Endpoints::Own);
    accepted(binary(LOCAL, 0x11, &block(ipv4())), Endpoints::Own);
    accepted(binary(LOCAL, 0xFF, b"anything"), Endpoints::Own);
}

#[test]
fn unspecified_family_or_protocol_keeps_the_own_addresses() {
    for family in [0x00, 0x01, 0x02, 0x10, 0x20, 0x30] {
        accepted(binary(PROXY, family, b""), Endpoints::Own);
        accepted(binary(PROXY, family, &block(ipv6())), Endpoints::Own);
    }
}

#[test]
fn unix_sockets_keep_the_own_addresses() {
    for family in [0x31, 0x32] {
        accepted(binary(PROXY, family, &[b'/'; 216]), Endpoints::Own);
        accepted(binary(PROXY, family, &[b'/'; 230]), Endpoints::Own);
    }
}

#[test]
fn header_shorter_than_its_addresses_is_refused() {
    for (family, size) in [(0x11, 12), (0x12, 12), (0x21, 36), (0x22, 36), (0x31, 216), (0x32, 216)] {
        for length in [0, 1, size - 1] {
            refused(announcing(PROXY, family, length, b""), HeaderError::TooShort);
        }
    }
}

#[test]
fn binary_of_4096_bytes_is_the_longest() {
    for (command, family) in [(LOCAL, 0x00), (PROXY, 0x00), (PROXY, 0x11)] {
        let header = binary(command, family, &[0; 4096]);
        assert_eq!(read_header([&header[..]]).map(|read| read.unwrap().0), Ok(16 + 4096));
        assert_eq!(read_header([&header[..16 + 4095]]), Ok(None));
        check_proxy_header(&[&[200], &header[..], b"Hello"].concat());
        refused(announcing(command, family, 4097, b""), HeaderError::TooLong);
        refused(announcing(command, family, u16::MAX, b""), HeaderError::TooLong);
    }
}

#[test]
fn other_versions_of_binary_are_refused() {
    for version in (0..=0xF).filter(|version| *version != 2) {
        for command in [0, 1, 0xF] {
            refused([SIGNATURE, &[version << 4 | command]].concat(), HeaderError::Version);
        }
    }
}

#[test]
fn unassigned_commands_are_refused() {
    for command in 2..=0xF {
        refused([SIGNATURE, &[0x20 | command]].concat(), HeaderError::Command);
    }
}

#[test]
fn unassigned_families_and_protocols_are_refused() {
    for family in (0..=u8::MAX).filter(|family| family >> 4 > 3 || family & 0xF > 2) {
        refused([SIGNATURE, &[PROXY, family]].concat(), HeaderError::Family);
    }
}

#[test]
fn no_bytes_change_nothing() {
    let mut header = ProxyHeader::default();
    assert_eq!(header.received(b""), Ok(HeaderProgress::Incomplete));
    assert_eq!(header.received(b"PROXY UNKNOWN\r"), Ok(HeaderProgress::Incomplete));
    assert_eq!(header.received(b""), Ok(HeaderProgress::Incomplete));
    let complete = |used| Ok(HeaderProgress::Complete { used, endpoints: Endpoints::Own });
    assert_eq!(header.received(b"\nHello"), complete(1));
    assert_eq!(header.received(b""), complete(0));
}

#[test]
fn first_refusal_stays() {
    let mut header = ProxyHeader::new();
    assert_eq!(header.received(b"PROXY UDP4"), Err(HeaderError::Protocol));
    assert_eq!(header.received(b""), Err(HeaderError::Protocol));
    assert_eq!(header.received(b"PROXY UNKNOWN\r\n"), Err(HeaderError::Protocol));
}

#[test]
fn header_takes_little_memory() {
    assert!(size_of::<ProxyHeader>() <= 120, "{} bytes", size_of::<ProxyHeader>());
}

#[test]
fn header_errors_are_words() {
    for (index, error) in HeaderError::ALL.into_iter().enumerate() {
        assert_eq!(error as usize, index);
        let words = error.to_string();
        assert!(words.contains("PROXY header"), "{words}");
        assert!(words.chars().all(|c| c.is_ascii_alphabetic() || c == ' '), "{words}");
        assert_eq!(HeaderError::ALL.iter().filter(|other| other.as_str() == words).count(), 1, "{words}");
    }
}

fn endpoints() -> impl Strategy<Value = Endpoints> {
    let four = (any::<Ipv4Addr>(), any::<Ipv4Addr>()).prop_map(|(from, to)| (from.into(), to.into()));
    let six = (any::<Ipv6Addr>(), any::<Ipv6Addr>()).prop_map(|(from, to)| (from.into(), to.into()));
    (prop_oneof![four, six], any::<u16>(), any::<u16>()).prop_map(
        |((from, to), from_port, to_port): ((IpAddr, IpAddr), _, _)| Endpoints::Proxied {
            source: SocketAddr::new(from, from_port),
            destination: SocketAddr::new(to, to_port),
        },
    )
}

/// A valid header with its endpoints.
fn header() -> impl Strategy<Value = (Vec<u8>, Endpoints)> {
    let text = endpoints().prop_map(|endpoints| {
        let Endpoints::Proxied { source, destination } = endpoints else { return (Vec::new(), endpoints) };
        let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
        let (from, to, from_port, to_port) = (source.ip(), destination.ip(), source.port(), destination.port());
        (format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n").into_bytes(), endpoints)
    });
    let binary_with = (endpoints(), 1..3u8, vec(any::<u8>(), 0..60)).prop_map(|(endpoints, protocol, extensions)| {
        let addresses = block(endpoints);
        let family = if addresses.len() == 12 { 0x10 } else { 0x20 };
        (binary(PROXY, family | protocol, &[addresses, extensions].concat()), endpoints)
    });
    let local = (any::<u8>(), vec(any::<u8>(), 0..60))
        .prop_map(|(family, ignored)| (binary(LOCAL, family, &ignored), Endpoints::Own));
    prop_oneof![text, binary_with, local]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_header_ends_where_its_message_begins(
        (header, endpoints) in header(),
        message in vec(any::<u8>(), 0..20),
        split in any::<u8>(),
    ) {
        let stream = [&header[..], &message].concat();
        prop_assert_eq!(read_header([&stream[..]]), Ok(Some((header.len(), endpoints))));
        check_proxy_header(&[&[split], &stream[..]].concat());
    }

    #[test]
    fn damaged_headers_read_alike_in_any_pieces(
        (mut stream, _) in header(),
        damages in vec((any::<prop::sample::Index>(), any::<Option<u8>>()), 1..4),
        split in any::<u8>(),
    ) {
        for (index, byte) in damages {
            let index = index.index(stream.len());
            match byte {
                Some(byte) if byte % 2 == 0 => stream[index] = byte,
                Some(byte) => stream.insert(index, byte),
                None if stream.len() > 1 => drop(stream.remove(index)),
                None => {}
            }
        }
        check_proxy_header(&[&[split], &stream[..]].concat());
    }

    #[test]
    fn any_text_reads_alike_in_any_pieces(
        line in "PROXY (TCP4|TCP6|UNKNOWN)?[ 0-9a-f:.+\r\n]{0,110}",
        split in any::<u8>(),
    ) {
        check_proxy_header(&[&[split], line.as_bytes()].concat());
    }
}
