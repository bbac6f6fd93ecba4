//! Options that would listen on the same place, which is wrong usage. The system's error would blame another program.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{self, PathBuf};

use parrot_values::{Address, Endpoint, Host, UnixPlace};

use super::distinct;
use crate::arguments::Arguments;

/// What to tell the user of the first two options of which one takes the place that the other wants.
pub(crate) fn conflict(arguments: &Arguments) -> Option<String> {
    let claims = claims(arguments);
    claims.iter().enumerate().find_map(|(index, one)| {
        let is_taken = |(at, other): &(usize, &Claim)| *at != index && one.place.includes(&other.place);
        let (_, other) = claims.iter().enumerate().find(is_taken)?;
        let (one, wanted, other) = (&one.option, other.place.describe(), &other.option);
        Some(format!("{one} and {other} both listen on {wanted}, so leave out one of the two"))
    })
}

/// A place that an option listens on.
struct Claim {
    option: String,
    place: Place,
}

#[derive(PartialEq, Eq)]
enum Place {
    Port { transport: &'static str, port: u16, address: String, ip: IpAddr },
    Path(PathBuf),
    Name(String),
}

impl Place {
    /// Whether a listener here takes what the other one wants. The wildcard address of a family takes all addresses of the
    /// family.
    fn includes(&self, wanted: &Place) -> bool {
        match (self, wanted) {
            (
                Place::Port { transport, port, ip, .. },
                Place::Port { transport: same, port: wanted, ip: narrow, .. },
            ) if ip.is_unspecified() => (transport, port, ip.is_ipv4()) == (same, wanted, narrow.is_ipv4()),
            _ => self == wanted,
        }
    }

    /// As the server names its listeners.
    fn describe(&self) -> String {
        match self {
            Place::Port { transport, port, address, ip } => {
                let scheme = if *transport == "udp" { "udp:" } else { "" };
                let address = if ip.is_ipv6() { format!("[{address}]") } else { address.clone() };
                format!("{scheme}{address}:{port}")
            }
            Place::Path(path) => format!("unix:{}", path.display()),
            Place::Name(name) => format!("unix:@{name}"),
        }
    }
}

/// The places of all options. Repeated ones are left out, because they count once.
fn claims(arguments: &Arguments) -> Vec<Claim> {
    let mut claims = Vec::new();
    if arguments.listen.is_empty() || arguments.has_short_form() {
        let port = arguments.port;
        if arguments.bind.is_empty() {
            claims.extend(ports(&format!("--port {port}"), "tcp", &Host::Every, port));
        }
        let mut seen: Vec<&Address> = Vec::new();
        for address in &arguments.bind {
            if !seen.contains(&address) {
                seen.push(address);
                claims.extend(ports(&format!("--bind {address}"), "tcp", &Host::Address(address.clone()), port));
            }
        }
    }
    let listen = distinct(&arguments.listen).into_iter();
    let listen = listen.map(|argument| (&argument.endpoint, format!("--listen {argument}")));
    for (endpoint, option) in listen.chain(arguments.admin()) {
        match endpoint {
            // It gets a port of its own.
            Endpoint::Tcp(_, 0) | Endpoint::Udp(_, 0) => {}
            Endpoint::Tcp(host, port) => claims.extend(ports(&option, "tcp", host, *port)),
            Endpoint::Udp(host, port) => claims.extend(ports(&option, "udp", host, *port)),
            Endpoint::Unix(UnixPlace::Path(path)) => {
                // Without the current directory the path stands for itself.
                let place = Place::Path(path::absolute(path).unwrap_or_else(|_| path.clone()));
                claims.push(Claim { option, place });
            }
            Endpoint::Unix(UnixPlace::Abstract(name)) => {
                claims.push(Claim { option, place: Place::Name(name.clone()) });
            }
        }
    }
    claims
}

fn ports(option: &str, transport: &'static str, host: &Host, port: u16) -> Vec<Claim> {
    let claim = |(address, ip)| {
        let place = Place::Port { transport, port, address, ip };
        Claim { option: option.to_owned(), place }
    };
    literals(host).into_iter().map(claim).collect()
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
