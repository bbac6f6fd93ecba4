//! IP addresses with the zone that a link-local one needs.

use std::error::Error;
use std::ffi::CString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

use nix::net::if_::{if_indextoname, if_nametoindex};

/// An IP address, with the zone that was given for it.
///
/// A zone is the name or the number of a network interface (RFC 4007, section 11). A link-local address always has one,
/// because it exists on every interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    ip: IpAddr,
    zone: Option<String>,
}

/// Reads an IP address such as `127.0.0.1`, `::1` or `fe80::1%eth0`. An IPv6 address may be in brackets.
///
/// # Errors
///
/// The right form, if the text is no address, or none that a connection can have.
pub fn address(text: &str) -> Result<Address, String> {
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let (literal, zone) = match bracketed.unwrap_or(text).split_once('%') {
        Some((literal, zone)) => (literal, Some(zone)),
        None => (bracketed.unwrap_or(text), None),
    };
    let ip = literal.parse().ok().filter(|ip: &IpAddr| ip.is_ipv6() || bracketed.is_none());
    let ip = ip.ok_or("expected an IP address such as 127.0.0.1, ::1 or fe80::1%eth0, without a port")?;
    if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err("nobody can connect to a multicast or broadcast address".to_owned());
    }
    let IpAddr::V6(v6) = ip else {
        return if zone.is_none() {
            Ok(Address { ip, zone: None })
        } else {
            Err("only an IPv6 address has a zone".to_owned())
        };
    };
    // The zone 0 is the default one, which is the same as none (RFC 4007, section 6).
    let zone = zone.filter(|zone| *zone != "0");
    if zone.is_some() && v6.is_unspecified() {
        return Err(format!("{v6} stands for every interface, so it has no zone"));
    }
    if zone.is_none() && v6.is_unicast_link_local() {
        return Err(format!("a link-local address needs its interface, as in {v6}%INTERFACE"));
    }
    if zone == Some("") {
        return Err(format!("the interface is missing, as in {v6}%INTERFACE"));
    }
    if zone.is_some_and(|zone| zone.contains(|letter: char| letter.is_whitespace() || "/[]%".contains(letter))) {
        return Err(format!("behind % comes the name or number of an interface and nothing else, as in {v6}%eth0"));
    }
    Ok(Address { ip, zone: zone.map(str::to_owned) })
}

impl Address {
    /// The address without its zone.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The socket address with this port. Only a link-local address keeps its zone, because it says nothing about others.
    ///
    /// # Errors
    ///
    /// When no interface has the name or number of the zone. It may come later.
    pub fn at(&self, port: u16) -> Result<SocketAddr, NoInterface> {
        let scope = match &self.zone {
            Some(zone) => interface(zone).ok_or_else(|| NoInterface(self.clone()))?,
            None => 0,
        };
        Ok(match self.ip {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => SocketAddrV6::new(v6, port, 0, scope).into(),
            ip => SocketAddr::new(ip, port),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            Some(zone) => write!(f, "{}%{zone}", self.ip),
            None => self.ip.fmt(f),
        }
    }
}

/// The number of the interface that a zone names. A name comes before a number of the same digits, as in getaddrinfo.
fn interface(zone: &str) -> Option<u32> {
    let find = |zone: &str| {
        let numbered = || zone.parse().ok().filter(|number| name(*number).is_some());
        if_nametoindex(zone).ok().or_else(numbered)
    };
    // In a URL the % itself is written as %25 (RFC 6874), and addresses are copied from there.
    find(zone).or_else(|| zone.strip_prefix("25").and_then(find))
}

/// The name of the interface with this number, which nix leaves empty if there is none.
fn name(number: u32) -> Option<CString> {
    if_indextoname(number).ok().filter(|name| !name.is_empty())
}

/// The error of an [`Address`] whose zone is no interface of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoInterface(Address);

impl fmt::Display for NoInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = if cfg!(target_os = "linux") { "ip link" } else { "ifconfig -l" };
        let zone = self.0.zone.as_deref().unwrap_or_default();
        write!(f, "this machine has no interface {zone} for {}: `{list}` shows those it has", self.0)
    }
}

impl Error for NoInterface {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name of the first interface, which is loopback on Linux.
    fn first() -> Option<String> {
        name(1).and_then(|name| name.into_string().ok())
    }

    #[test]
    fn addresses_are_read_with_and_without_brackets() {
        for text in ["127.0.0.1", "::1", "[::1]", "::", "[fe80::1%eth0]", "fe80::1%2", "169.254.0.1"] {
            let address = address(text).unwrap();
            assert_eq!(address.to_string(), text.trim_start_matches('[').trim_end_matches(']'));
        }
    }

    #[test]
    fn other_text_is_refused_with_the_right_form() {
        for (text, right) in [
            ("", "such as 127.0.0.1"),
            ("localhost", "such as 127.0.0.1"),
            ("127.0.0.1:1", "without a port"),
            ("[::1]:1", "without a port"),
            ("[::1", "such as"),
            ("::1]", "such as"),
            ("[127.0.0.1]", "such as"),
            ("%eth0", "such as"),
            ("127.0.0.1/8", "such as"),
            ("127.0.0.1%lo", "only an IPv6 address"),
            ("fe80::1", "fe80::1%INTERFACE"),
            ("fe80::1%", "fe80::1%INTERFACE"),
            ("fe80::1%0", "fe80::1%INTERFACE"),
            ("::1%", "::1%INTERFACE"),
            ("fe80::1%eth0/64", "nothing else"),
            ("fe80::1%eth0%2", "nothing else"),
            ("fe80::1%eth 0", "nothing else"),
            ("::%eth0", "has no zone"),
            ("224.0.0.1", "multicast"),
            ("ff02::1%eth0", "multicast"),
            ("255.255.255.255", "broadcast"),
        ] {
            let error = address(text).unwrap_err();
            assert!(error.contains(right), "{text}: {error}");
        }
    }

    #[test]
    fn an_interface_is_found_by_name_and_by_number() {
        let Some(name) = first() else {
            return eprintln!("SKIPPED: no interface has the number 1");
        };
        for zone in [&name, "1", "251", &format!("25{name}")] {
            let address = address(&format!("fe80::1%{zone}")).unwrap();
            assert_eq!(address.at(7).unwrap().to_string(), "[fe80::1%1]:7", "{zone}");
        }
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        for zone in ["nowhere", "4294967295", "4294967296", "25", "-1"] {
            let error = address(&format!("fe80::1%{zone}")).unwrap().at(7).unwrap_err().to_string();
            assert!(error.contains(&format!("no interface {zone} for fe80::1%{zone}")), "{error}");
        }
    }

    #[test]
    fn only_a_link_local_address_keeps_its_zone() {
        assert_eq!(address("::1%0").unwrap().at(7).unwrap().to_string(), "[::1]:7");
        assert!(address("::1%nowhere").unwrap().at(7).is_err());
        if let Some(name) = first() {
            let address = address(&format!("2001:db8::1%{name}")).unwrap();
            assert_eq!(address.at(7).unwrap().to_string(), "[2001:db8::1]:7");
        }
    }
}
