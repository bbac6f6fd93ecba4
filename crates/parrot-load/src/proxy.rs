//! The header that tells a server behind a load balancer who its client is (haproxy.org, proxy-protocol.txt).

use std::net::{IpAddr, SocketAddr};

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// A binary block.
    V2,
}

/// The header for a connection with these addresses, of the client and of the server.
///
/// A client on a Unix socket has no address to report. Version 2 then says `LOCAL`, that the connection is the sender's
/// own, which is the truth here. Version 1 has only `UNKNOWN` for both. Either way a server keeps to what it sees itself.
pub(crate) fn header(version: ProxyVersion, addresses: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    match version {
        ProxyVersion::V1 => text(addresses).into_bytes(),
        ProxyVersion::V2 => binary(addresses),
    }
}

fn text(addresses: Option<(SocketAddr, SocketAddr)>) -> String {
    let Some((client, server)) = addresses else { return "PROXY UNKNOWN\r\n".to_owned() };
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    // An address without its zone, which means nothing to another machine.
    let (from, to) = (client.ip(), server.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), server.port())
}

fn binary(addresses: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    const UNSPECIFIED: u8 = 0;
    const TCP_OVER_IPV4: u8 = 0x11;
    const TCP_OVER_IPV6: u8 = 0x21;

    let mut header = SIGNATURE.to_vec();
    let Some((client, server)) = addresses else {
        header.extend([LOCAL, UNSPECIFIED, 0, 0]);
        return header;
    };
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mut block = [octets(client.ip()), octets(server.ip())].concat();
    block.extend(client.port().to_be_bytes());
    block.extend(server.port().to_be_bytes());
    header.extend([PROXY, if client.is_ipv4() { TCP_OVER_IPV4 } else { TCP_OVER_IPV6 }, 0, block.len() as u8]);
    header.extend(block);
    header
}

#[cfg(test)]
mod tests {
    use proxy_header::{ParseConfig, ProxyHeader};

    use super::*;

    /// What another library reads from a header, if it has addresses.
    fn read(header: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
        let (read, length) = ProxyHeader::parse(header, ParseConfig::default()).expect("a valid header");
        assert_eq!(length, header.len(), "nothing follows the header");
        read.proxied_address().map(|address| (address.source, address.destination))
    }

    #[test]
    fn another_library_reads_the_addresses() {
        for (client, server) in [("127.0.0.1:50000", "10.0.0.7:1512"), ("[::1]:65535", "[2001:db8::7]:1")] {
            let addresses = (client.parse().unwrap(), server.parse().unwrap());
            for version in [ProxyVersion::V1, ProxyVersion::V2] {
                assert_eq!(read(&header(version, Some(addresses))), Some(addresses), "{version:?}");
            }
        }
    }

    #[test]
    fn a_unix_socket_has_no_addresses_to_report() {
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            assert_eq!(read(&header(version, None)), None, "{version:?}");
        }
    }

    #[test]
    fn version_1_has_no_zones() {
        let addresses = ("[fe80::1%2]:7".parse().unwrap(), "[fe80::2%2]:8".parse().unwrap());
        assert_eq!(text(Some(addresses)), "PROXY TCP6 fe80::1 fe80::2 7 8\r\n");
    }
}
