//! IP networks.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// How a network is written.
const FORM: &str = "expected a network such as 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7";

/// Reads a network such as `10.0.0.0/8` or `2001:db8::/32`. An address without a length is a network of its own.
///
/// A network of IPv4 does not contain the IPv4-mapped IPv6 addresses of its hosts. A program that may meet those looks
/// for their [canonical](IpAddr::to_canonical) form.
///
/// # Errors
///
/// The right form, if the text is no network, or if its address is one inside the network and not the first.
pub fn network(text: &str) -> Result<IpNet, String> {
    if text.contains('%') {
        return Err("a network has no interface, as in fe80::/10".to_owned());
    }
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    // std refuses leading zeros, which some programs read as octal and ipnet as decimal.
    let address: IpAddr = address.parse().map_err(|_| FORM)?;
    let (version, most) = if address.is_ipv4() { (4, 32) } else { (6, 128) };
    let length = match length {
        None if address.is_unspecified() => return Err(format!("write {address}/0 for all addresses of IPv{version}")),
        None => most,
        Some(length) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
            let fitting = length.parse().ok().filter(|length| *length <= most);
            fitting.ok_or_else(|| format!("a network of IPv{version} has a length of 0 to {most}"))?
        }
        Some(_) => return Err(FORM.to_owned()),
    };
    let network = IpNet::new(address, length).map_err(|_| FORM)?;
    let first = network.trunc();
    if first != network {
        return Err(format!("{address} is inside a network, write {first} or {address}"));
    }
    match mapped(network) {
        Some(four) => Err(format!("write {four} for the network of IPv4")),
        None => Ok(network),
    }
}

/// The network of IPv4 whose mapped addresses (RFC 4291, section 2.5.5.2) these are.
fn mapped(network: IpNet) -> Option<Ipv4Net> {
    let IpNet::V6(network) = network else { return None };
    let address = Ipv6Addr::to_ipv4_mapped(&network.addr())?;
    Ipv4Net::new(address, network.prefix_len().checked_sub(96)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(text: &str, address: &str) -> bool {
        network(text).unwrap().contains(&address.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn networks_are_read_and_written_alike() {
        for text in
            ["10.0.0.0/8", "0.0.0.0/0", "192.0.2.7/32", "0.0.0.0/32", "::/0", "2001:db8::/32", "::1/128", "::/95"]
        {
            assert_eq!(network(text).unwrap().to_string(), text);
        }
        assert_eq!(network("2001:0DB8::/032").unwrap().to_string(), "2001:db8::/32");
    }

    #[test]
    fn an_address_alone_is_a_network() {
        for (text, written) in [("192.0.2.7", "192.0.2.7/32"), ("::1", "::1/128"), ("fe80::1", "fe80::1/128")] {
            assert_eq!(network(text).unwrap().to_string(), written);
        }
    }

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        assert!(contains("192.0.2.0/24", "192.0.2.0") && contains("192.0.2.0/24", "192.0.2.255"));
        assert!(!contains("192.0.2.0/24", "192.0.3.0") && !contains("192.0.2.0/24", "192.0.1.255"));
        assert!(contains("192.0.2.7", "192.0.2.7") && !contains("192.0.2.7", "192.0.2.6"));
        assert!(contains("2001:db8::/32", "2001:db8:ffff::1") && !contains("2001:db8::/32", "2001:db9::"));
        assert!(contains("0.0.0.0/0", "255.255.255.255") && !contains("0.0.0.0/0", "::1"));
        assert!(!contains("192.0.2.0/24", "::ffff:192.0.2.7"), "the caller's `to_canonical` is needed");
    }

    #[test]
    fn other_text_is_refused_with_the_right_form() {
        for (text, right) in [
            ("", "such as 10.0.0.0/8"),
            ("localhost", "such as 10.0.0.0/8"),
            ("10/8", "such as 10.0.0.0/8"),
            ("10.0.0.0/", "such as 10.0.0.0/8"),
            ("/8", "such as 10.0.0.0/8"),
            ("10.0.0.0/+8", "such as 10.0.0.0/8"),
            ("10.0.0.0/-1", "such as 10.0.0.0/8"),
            ("10.0.0.0/8/8", "such as 10.0.0.0/8"),
            ("10.0.0.0 /8", "such as 10.0.0.0/8"),
            ("10.0.0.0/255.0.0.0", "such as 10.0.0.0/8"),
            ("010.0.0.0/8", "such as 10.0.0.0/8"),
            ("[::1]", "such as 10.0.0.0/8"),
            ("10.0.0.0/8,10.1.0.0/16", "such as 10.0.0.0/8"),
            ("*", "such as 10.0.0.0/8"),
            ("10.0.0.0/33", "IPv4 has a length of 0 to 32"),
            ("10.0.0.0/99999999999999999999", "IPv4 has a length of 0 to 32"),
            ("::/129", "IPv6 has a length of 0 to 128"),
            ("10.1.2.3/8", "write 10.0.0.0/8 or 10.1.2.3"),
            ("10.1.2.3/0", "write 0.0.0.0/0 or 10.1.2.3"),
            ("2001:db8::1/32", "write 2001:db8::/32 or 2001:db8::1"),
            ("0.0.0.0", "write 0.0.0.0/0"),
            ("::", "write ::/0"),
            ("fe80::1%eth0", "no interface"),
            ("fe80::%eth0/10", "no interface"),
            ("::ffff:10.0.0.0/104", "write 10.0.0.0/8 "),
            ("::ffff:192.0.2.7", "write 192.0.2.7/32 "),
            ("::ffff:0:0/96", "write 0.0.0.0/0 "),
        ] {
            let error = network(text).unwrap_err();
            assert!(error.contains(right), "{text}: {error}");
        }
    }
}
