//! From the command line to the places that the server listens on.

mod conflict;

use std::ffi::OsString;
use std::fmt;

use anyhow::Result;
use parrot_server::{Addresses, Listen};
use parrot_values::{Endpoint, Host, UnixPlace};

use crate::arguments::Arguments;

pub(crate) use self::conflict::conflict;

/// The value of `--listen`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenArgument {
    pub endpoint: Endpoint,
    pub proxy: bool,
}

impl ListenArgument {
    /// Whether each one like this listens on a port of its own.
    pub(crate) fn has_any_port(&self) -> bool {
        matches!(self.endpoint, Endpoint::Tcp(_, 0) | Endpoint::Udp(_, 0))
    }
}

impl fmt::Display for ListenArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.endpoint, if self.proxy { ",proxy" } else { "" })
    }
}

/// Reads `tcp:HOST:PORT`, `udp:HOST:PORT` or `unix:PATH`, with `,proxy` behind it where a PROXY header comes first.
///
/// A path that is not UTF-8 is refused, because the file of `--ready-file` could not show it.
pub(crate) fn listen_argument(text: OsString) -> Result<ListenArgument, String> {
    let text = text.to_str().ok_or("this is not UTF-8, so choose a path that is")?;
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
    for argument in distinct(&arguments.listen) {
        places.push(place(argument)?);
    }
    Ok(places)
}

/// The arguments of `--listen`. As with `--bind`, a repeated one counts once, unless each gets a port of its own.
fn distinct(arguments: &[ListenArgument]) -> Vec<&ListenArgument> {
    let mut distinct = Vec::new();
    for argument in arguments {
        if argument.has_any_port() || !distinct.contains(&argument) {
            distinct.push(argument);
        }
    }
    distinct
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
