//! From the command line to the places that the server listens on.

mod conflict;

use std::ffi::OsString;
use std::fmt;

use anyhow::Result;
use parrot_server::fault::FaultRule;
use parrot_server::{Addresses, Handle, Listen, Listening};
use parrot_values::{Endpoint, Host, UnixPlace};

use crate::arguments::Arguments;
use crate::faults;

pub(crate) use self::conflict::conflict;

/// The value of `--listen`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenArgument {
    pub endpoint: Endpoint,
    pub proxy: bool,
    /// Its own faults.
    pub faults: Vec<FaultRule>,
}

impl ListenArgument {
    /// Whether each one like this listens on a port of its own.
    pub(crate) fn has_any_port(&self) -> bool {
        matches!(self.endpoint, Endpoint::Tcp(_, 0) | Endpoint::Udp(_, 0))
    }
}

impl fmt::Display for ListenArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.endpoint, if self.proxy { ",proxy" } else { "" })?;
        self.faults.iter().try_for_each(|fault| write!(f, ",fault={fault}"))
    }
}

/// Reads `tcp:HOST:PORT`, `udp:HOST:PORT` or `unix:PATH`, with `,proxy` behind it where a PROXY header comes first and
/// `,fault=SPEC` for each fault of its own.
///
/// A path that is not UTF-8 is refused, because the file of `--ready-file` could not show it.
pub(crate) fn listen_argument(text: OsString) -> Result<ListenArgument, String> {
    let text = text.to_str().ok_or("this is not UTF-8, so choose a path that is")?;
    let (endpoint, options) = parrot_values::listener(text, &["proxy", "fault"])?;
    let (mut proxy, mut own) = (false, Vec::new());
    for option in &options {
        match option.split_once('=') {
            None if option == "proxy" => proxy = true,
            Some(("fault", fault)) => own.push(parrot_values::fault(fault)?),
            _ => return Err(format!("{option:?} is not an option, which is proxy alone or fault=SPEC")),
        }
    }
    if proxy && matches!(endpoint, Endpoint::Udp(..)) {
        return Err("datagrams have no PROXY header, so leave out proxy".to_owned());
    }
    match faults::conflict_at(&endpoint, &own) {
        Some(conflict) => Err(conflict),
        None => Ok(ListenArgument { endpoint, proxy, faults: own }),
    }
}

/// A place to listen on.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Its name, which is the same whichever options stand for it.
    pub name: String,
    pub proxy: bool,
    /// Its own faults, and the seed that they were opened with.
    pub faults: Vec<FaultRule>,
    pub seed: u64,
}

impl Place {
    /// Its own faults as the pages show them, or `None` without any.
    pub(crate) fn own_faults(&self) -> Option<String> {
        let faults: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        let name = self.name.split(",fault=").next().unwrap_or_default();
        (!faults.is_empty()).then(|| format!("{} on {name}", faults.join(" ")))
    }
}

/// The places of the options. Without any, and if no sockets were `passed`, the defaults of --bind and --port.
pub(crate) fn places(arguments: &Arguments, passed: bool) -> Result<Vec<(Place, Listen)>> {
    let mut places = Vec::new();
    if arguments.has_short_form() || (!passed && arguments.listen.is_empty()) {
        places = short_form(arguments)?;
    }
    for argument in distinct(&arguments.listen) {
        // Ports of their own do not change into each other.
        let name = if argument.has_any_port() { argument.to_string() } else { argument.endpoint.to_string() };
        let mut listen = listen(argument, arguments.unix_mode)?;
        if let Some(plan) = faults::plan(arguments, &argument.faults)? {
            listen = listen.with_faults(plan);
        }
        let (proxy, faults) = (argument.proxy, argument.faults.clone());
        places.push((Place { name, proxy, faults, seed: faults::seed(arguments) }, listen));
    }
    Ok(places)
}

/// What a server listens on now.
pub(crate) fn of(handle: &Handle) -> Vec<Listening> {
    handle.listeners().into_iter().map(|listener| listener.listening).collect()
}

/// Places as a sentence lists them.
pub(crate) fn list(listening: &[Listening]) -> String {
    let places: Vec<String> = listening.iter().map(Listening::to_string).collect();
    match places.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => "nothing".to_owned(),
    }
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

/// The places of --bind and --port. Each address is one, so that a reload can add another. Only with port 0 they are
/// one together, because they share the port that is found.
fn short_form(arguments: &Arguments) -> Result<Vec<(Place, Listen)>> {
    let (bind, port) = (&arguments.bind, arguments.port);
    let at = |host| Endpoint::Tcp(host, port).to_string();
    if bind.is_empty() {
        let place = Place { name: at(Host::Every), proxy: false, faults: Vec::new(), seed: 0 };
        return Ok(vec![(place, Listen::tcp(Addresses::everywhere(port)))]);
    }
    let together = if port == 0 { bind.len() } else { 1 };
    let mut places: Vec<(Place, Listen)> = Vec::new();
    for addresses in bind.chunks(together) {
        let names: Vec<String> = addresses.iter().map(|address| at(Host::Address(address.clone()))).collect();
        let name = names.join(" ");
        if places.iter().all(|(place, _)| place.name != name) {
            let addresses = addresses.iter().map(|address| address.at(port)).collect::<Result<Vec<_>, _>>()?;
            places.push((Place { name, proxy: false, faults: Vec::new(), seed: 0 }, Listen::tcp(addresses)));
        }
    }
    Ok(places)
}

fn listen(argument: &ListenArgument, unix_mode: Option<u32>) -> Result<Listen> {
    let listen = match &argument.endpoint {
        Endpoint::Tcp(host, port) => Listen::tcp(addresses(host, *port)?),
        Endpoint::Udp(host, port) => return Ok(Listen::udp(addresses(host, *port)?)),
        Endpoint::Unix(UnixPlace::Path(path)) => match unix_mode {
            Some(mode) => Listen::unix(path).with_unix_mode(mode),
            None => Listen::unix(path),
        },
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
