//! From the command line to the places that the server listens on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use parrot_server::{Addresses, Listen};
use parrot_values::{Endpoint, Host, UnixPlace};

use crate::arguments::Arguments;

/// The value of `--listen`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenArgument {
    pub endpoint: Endpoint,
    pub proxy: bool,
}

/// Reads `tcp:HOST:PORT`, `udp:HOST:PORT` or `unix:PATH`, with `,proxy` behind it where a PROXY header comes first.
pub(crate) fn listen_argument(text: &str) -> Result<ListenArgument, String> {
    let (endpoint, options) = parrot_values::listener(text, &["proxy"])?;
    for option in &options {
        if option != "proxy" {
            return Err(format!("{option:?} is not an option, which is proxy alone"));
        }
    }
    let proxy = !options.is_empty();
    if proxy && matches!(endpoint, Endpoint::Udp(..)) {
        return Err("datagrams have no PROXY header, so leave out proxy".to_owned());
    }
    Ok(ListenArgument { endpoint, proxy })
}

/// All places: the sockets that were passed, and what the command line adds. Without either, the defaults of --bind and
/// --port.
pub(crate) fn places(arguments: &Arguments, passed: Vec<Listen>) -> Result<Vec<Listen>> {
    let mut places = passed;
    if arguments.has_short_form() || (places.is_empty() && arguments.listen.is_empty()) {
        places.push(Listen::tcp(short_form(arguments)?));
    }
    let mut seen: Vec<&ListenArgument> = Vec::new();
    for argument in &arguments.listen {
        // As with --bind, a repeated one counts once.
        if !seen.contains(&argument) {
            seen.push(argument);
            places.push(place(argument)?);
        }
    }
    Ok(places)
}

fn short_form(arguments: &Arguments) -> Result<Addresses> {
    if arguments.bind.is_empty() {
        return Ok(Addresses::everywhere(arguments.port));
    }
    let addresses = arguments.bind.iter().map(|address| address.at(arguments.port));
    Ok(addresses.collect::<Result<Vec<_>, _>>()?.into())
}

fn place(argument: &ListenArgument) -> Result<Listen> {
    let listen = match &argument.endpoint {
        Endpoint::Tcp(host, port) => Listen::tcp(addresses(host, *port)?),
        Endpoint::Udp(host, port) => return Ok(Listen::udp(addresses(host, *port)?)),
        Endpoint::Unix(UnixPlace::Path(path)) => Listen::unix(path),
        #[cfg(target_os = "linux")]
        Endpoint::Unix(UnixPlace::Abstract(name)) => Listen::unix_abstract(name.as_bytes()),
        #[cfg(not(target_os = "linux"))]
        Endpoint::Unix(UnixPlace::Abstract(name)) => {
            anyhow::bail!("this system has no Unix sockets without a file: @{name}")
        }
    };
    Ok(if argument.proxy { listen.with_proxy_protocol() } else { listen })
}

fn addresses(host: &Host, port: u16) -> Result<Addresses> {
    Ok(match host {
        Host::Every => Addresses::everywhere(port),
        Host::Localhost => Addresses::localhost(port),
        Host::Address(address) => address.at(port)?.into(),
    })
}

/// An address and port that an option listens on.
struct Claim {
    option: String,
    transport: &'static str,
    address: String,
    ip: IpAddr,
    port: u16,
}

impl Claim {
    /// Whether this takes what the other one wants. The wildcard address of a family takes all addresses of the family.
    fn includes(&self, other: &Claim) -> bool {
        let same_port = (self.transport, self.port) == (other.transport, other.port);
        let covers = self.ip.is_unspecified() && self.ip.is_ipv4() == other.ip.is_ipv4() && self.ip != other.ip;
        let is_same = self.address == other.address && self.option != other.option && self.port != 0;
        same_port && (covers || is_same)
    }
}

/// What to tell the user of the first two options of which one takes the address that the other wants.
pub(crate) fn conflict(arguments: &Arguments) -> Option<String> {
    let claims: Vec<Claim> = claims(arguments);
    claims.iter().find_map(|one| {
        let other = claims.iter().find(|other| one.includes(other))?;
        Some(format!("{} listens on {} too, so leave out one of the two", one.option, other.address))
    })
}

fn claims(arguments: &Arguments) -> Vec<Claim> {
    let mut claims = Vec::new();
    if arguments.listen.is_empty() || arguments.has_short_form() {
        let port = arguments.port;
        let mut claim = |option: String, host: &Host| {
            for (address, ip) in literals(host) {
                claims.push(Claim { option: option.clone(), transport: "tcp", address, ip, port });
            }
        };
        if arguments.bind.is_empty() {
            claim(format!("--port {port}"), &Host::Every);
        }
        for address in &arguments.bind {
            claim(format!("--bind {address}"), &Host::Address(address.clone()));
        }
    }
    for ListenArgument { endpoint, .. } in &arguments.listen {
        let (transport, host, port) = match endpoint {
            Endpoint::Tcp(host, port) => ("tcp", host, *port),
            Endpoint::Udp(host, port) => ("udp", host, *port),
            Endpoint::Unix(_) => continue,
        };
        // Each place with port 0 gets a port of its own.
        if port != 0 {
            for (address, ip) in literals(host) {
                claims.push(Claim { option: format!("--listen {endpoint}"), transport, address, ip, port });
            }
        }
    }
    claims
}

/// The addresses that a host stands for, as text and without their zones.
fn literals(host: &Host) -> Vec<(String, IpAddr)> {
    let ips: [IpAddr; 2] = match host {
        Host::Every => [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        Host::Localhost => [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        Host::Address(address) => return vec![(address.to_string(), address.ip())],
    };
    ips.map(|ip| (ip.to_string(), ip)).to_vec()
}
