//! The server as the command line names it, and its addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use anyhow::{Result, anyhow, ensure};
use parrot_values::Address;

/// How a server is named.
const FORM: &str = "expected PORT or HOST:PORT, such as 1512, localhost:1512 or [::1]:1512";

/// A server: a host and a port.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone)]
enum Host {
    Address(Address),
    Name(String),
}

/// Reads `PORT` or `HOST:PORT`. A port alone is one of 127.0.0.1, because `localhost` may be ::1 first (node#40537).
pub(crate) fn target(text: &str) -> Result<Target, String> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let server = rest.split('/').next().unwrap_or_default();
        return target(server).and(Err(format!("write {server} without {scheme}://")));
    }
    let (host, number) = if is_number(text) {
        ("127.0.0.1", text)
    } else if let Some(bracketed) = text.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or(FORM)?;
        if host.parse::<Ipv4Addr>().is_ok() || is_name(host) {
            return Err(format!("write {host}{rest} without brackets, which are for IPv6 addresses"));
        }
        if !is_ipv6(host) {
            return Err(FORM.to_owned());
        }
        (host, rest.strip_prefix(':').ok_or_else(|| format!("the port is missing, as in [{host}]:1512"))?)
    } else {
        let (host, number) = text.rsplit_once(':').ok_or(FORM)?;
        if is_ipv6(text) || is_ipv6(host) {
            return Err("an IPv6 address needs brackets, as in [::1]:1512".to_owned());
        }
        (host, number)
    };
    let port = port(number)?;
    Ok(Target { host: read_host(host)?, port })
}

fn read_host(host: &str) -> Result<Host, String> {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    if host.contains('%') || is_ipv6(host) || host.parse::<Ipv4Addr>().is_ok() {
        parrot_values::address(host).map(Host::Address)
    } else if host.is_empty() {
        Err(format!("the host is missing: {FORM}"))
    } else if is_number(last) {
        // No top-level domain is a number, so this was meant to be an address.
        Err(format!("expected an IPv4 address of four numbers up to 255 in place of {host}, such as 127.0.0.1"))
    } else if is_name(host) {
        Ok(Host::Name(host.to_owned()))
    } else {
        Err(format!("no host can have the name {host:?}: {FORM}"))
    }
}

/// Whether a host can have this name: at most 253 bytes in labels of at most 63. Letters beyond ASCII are for the system
/// to judge.
fn is_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        let fits = (1..=63).contains(&label.len());
        fits && label.chars().all(|letter| letter.is_alphanumeric() || "-_".contains(letter))
    };
    host.len() <= 253 && host.split('.').all(is_label)
}

/// Whether this is an IPv6 address, with or without a zone.
fn is_ipv6(text: &str) -> bool {
    text.split('%').next().is_some_and(|literal| literal.parse::<Ipv6Addr>().is_ok())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn port(text: &str) -> Result<u16, &'static str> {
    let port = if is_number(text) { text.parse().ok() } else { None };
    port.filter(|port| *port != 0).ok_or("expected a port from 1 to 65535, as in 1512 or localhost:1512")
}

impl Target {
    /// The addresses of the server, those of the sources' family if there are sources.
    ///
    /// # Errors
    ///
    /// What may be otherwise next time: no interface of an address's zone, or no address of a name.
    pub(crate) fn addresses(&self, sources: &[SocketAddr]) -> Result<Vec<SocketAddr>> {
        let name = match &self.host {
            Host::Address(address) => return Ok(vec![address.at(self.port)?]),
            Host::Name(name) => name,
        };
        let resolved = (name.as_str(), self.port).to_socket_addrs().map_err(|error| {
            let reason = error.to_string();
            let reason = reason.strip_prefix("failed to lookup address information: ").unwrap_or(&reason).to_owned();
            anyhow!("the name {name} could not be resolved ({reason}): check its spelling and the name server")
        })?;
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in resolved {
            // The system lists an address again for each protocol or line of a file.
            if !addresses.contains(&address) && sources.iter().all(|source| source.is_ipv4() == address.is_ipv4()) {
                addresses.push(address);
            }
        }
        let family = match sources.first().map(SocketAddr::ip) {
            Some(IpAddr::V4(_)) => "IPv4 ",
            Some(IpAddr::V6(_)) => "IPv6 ",
            None => "",
        };
        ensure!(!addresses.is_empty(), "the name {name} has no {family}address");
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_means_this_machine() {
        for (text, address) in
            [("1599", "127.0.0.1:1599"), ("[::1]:7", "[::1]:7"), ("10.0.0.1:65535", "10.0.0.1:65535")]
        {
            assert_eq!(target(text).unwrap().addresses(&[]).unwrap(), [address.parse().unwrap()]);
        }
    }

    #[test]
    fn names_have_labels_of_at_most_63_bytes() {
        for name in ["localhost", "a", "parrot.example.", "under_score", "xn--e1afmkfd", "пример", &"a".repeat(63)]
        {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "a..b", ".a", "a b", "a/b", "a@b", "a:b", &"a".repeat(64), &"abc.".repeat(64)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
