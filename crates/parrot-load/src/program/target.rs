//! The server as the command line names it, and its addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use anyhow::{Context, Result, anyhow, ensure};
use parrot_values::{Address, Endpoint, UnixPlace, endpoint};

use crate::Target;

/// How a server is named.
const FORM: &str =
    "expected PORT or HOST:PORT, such as 1512, localhost:1512 or [::1]:1512, or udp:HOST:PORT or unix:PATH";

/// A server on the command line.
#[derive(Debug, Clone)]
pub(crate) enum Server {
    /// A port, and its protocol if that was said.
    Port(Host, u16, Option<Protocol>),
    Unix(UnixPlace),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

#[derive(Debug, Clone)]
pub(crate) enum Host {
    Address(Address),
    Name(String),
}

/// Reads `PORT` or `HOST:PORT`, with or without `tcp:` or `udp:` before it, or `unix:PATH`.
pub(crate) fn server(text: &str) -> Result<Server, String> {
    if text.starts_with("unix:")
        && let Endpoint::Unix(place) = endpoint(text)?
    {
        return Ok(Server::Unix(place));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let named = rest.split('/').next().unwrap_or_default();
        return server(named).and(Err(format!("write {named} without {scheme}://")));
    }
    let (rest, protocol) = match text.split_once(':') {
        Some(("tcp", rest)) => (rest, Some(Protocol::Tcp)),
        Some(("udp", rest)) => (rest, Some(Protocol::Udp)),
        _ => (text, None),
    };
    let (host, port) = host_and_port(rest)?;
    Ok(Server::Port(host, port, protocol))
}

/// A port alone is one of 127.0.0.1, because `localhost` may be ::1 first (node#40537).
fn host_and_port(text: &str) -> Result<(Host, u16), String> {
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
    Ok((read_host(host)?, port))
}

fn read_host(host: &str) -> Result<Host, String> {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    if host.contains('%') || is_ipv6(host) || host.parse::<Ipv4Addr>().is_ok() {
        parrot_values::address(host).map(Host::Address)
    } else if host == "*" {
        Err("a server listens at *, and a client needs one of its addresses, such as localhost".to_owned())
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

impl Server {
    /// Whether a load on this server may consist of datagrams.
    pub(crate) fn may_be_udp(&self) -> bool {
        matches!(self, Server::Port(_, _, None | Some(Protocol::Udp)))
    }

    /// The addresses of the server, those of the sources' family if there are sources. With `udp`, a port whose protocol
    /// was not said is one of UDP.
    ///
    /// # Errors
    ///
    /// What may be otherwise next time: no interface of an address's zone, or no address of a name.
    pub(crate) fn targets(&self, udp: bool, sources: &[SocketAddr]) -> Result<Vec<Target>> {
        match self {
            Server::Port(host, port, protocol) => {
                let addresses = addresses(host, *port, sources)?.into_iter();
                Ok(match protocol {
                    Some(Protocol::Udp) => addresses.map(Target::Udp).collect(),
                    None if udp => addresses.map(Target::Udp).collect(),
                    _ => addresses.map(Target::Tcp).collect(),
                })
            }
            Server::Unix(place) => {
                let address = place.address().with_context(|| format!("no socket can be at unix:{place}"))?;
                Ok(vec![address.into()])
            }
        }
    }
}

fn addresses(host: &Host, port: u16, sources: &[SocketAddr]) -> Result<Vec<SocketAddr>> {
    let name = match host {
        Host::Address(address) => return Ok(vec![address.at(port)?]),
        Host::Name(name) => name,
    };
    let resolved = (name.as_str(), port).to_socket_addrs().map_err(|error| {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_by_what_they_listen_on() {
        for (text, target) in [
            ("1599", "127.0.0.1:1599"),
            ("[::1]:7", "[::1]:7"),
            ("10.0.0.1:65535", "10.0.0.1:65535"),
            ("tcp:10.0.0.1:7", "10.0.0.1:7"),
            ("tcp:7", "127.0.0.1:7"),
            ("udp:7", "udp:127.0.0.1:7"),
            ("udp:[::1]:7", "udp:[::1]:7"),
            ("unix:/tmp/a,b:7", "unix:/tmp/a,b:7"),
        ] {
            let targets = server(text).unwrap().targets(false, &[]).unwrap();
            assert_eq!(targets.iter().map(ToString::to_string).collect::<Vec<_>>(), [target]);
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
