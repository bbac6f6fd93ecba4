//! The places where a server listens, as `--listen` names them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr as UnixAddress;
use std::path::PathBuf;
use std::{fmt, io};

use crate::address::{Address, NoInterface, address};

/// How an endpoint is named.
const FORM: &str = if cfg!(target_os = "linux") {
    "expected tcp:HOST:PORT, udp:HOST:PORT, unix:PATH or unix:@NAME, such as tcp:*:1512"
} else {
    "expected tcp:HOST:PORT, udp:HOST:PORT or unix:PATH, such as tcp:*:1512"
};

/// The longest path or abstract name of a Unix socket, in bytes. `sun_path` holds it and a zero byte.
/// (unix(7); `sys/un.h` of the BSDs and macOS)
const LONGEST: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// A place where a server listens. `Display` gives back the text that [`endpoint`] reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// TCP connections to this port. Port 0 lets the system choose one.
    Tcp(Host, u16),
    /// UDP datagrams to this port. Port 0 lets the system choose one.
    Udp(Host, u16),
    /// Connections to a Unix stream socket.
    Unix(UnixPlace),
}

/// The addresses that a TCP or UDP endpoint stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// `*` stands for every address of this machine.
    Every,
    /// `localhost` stands for both loopback addresses, whatever the system's list of names says.
    Localhost,
    /// One address.
    Address(Address),
}

/// Where a Unix socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnixPlace {
    /// In the file system.
    Path(PathBuf),
    /// In the abstract namespace, under this name without the `@`. Only Linux has one (unix(7)), so [`endpoint`] returns
    /// this nowhere else.
    Abstract(String),
}

/// Reads `tcp:HOST:PORT`, `udp:HOST:PORT`, `unix:PATH` or, on Linux, `unix:@NAME`.
///
/// `HOST` is an IP address (`127.0.0.1`, `[::1]`, `[fe80::1%eth0]`), `localhost` or `*`. Everything behind `unix:` belongs
/// to the path. A file whose name begins with `@` is written as `unix:./@NAME`.
///
/// # Errors
///
/// The right form, if the text is no endpoint, or none that a socket can have.
pub fn endpoint(text: &str) -> Result<Endpoint, String> {
    match text.split_once(':') {
        Some((scheme @ ("tcp" | "udp"), rest)) if rest.starts_with("//") => {
            Err(format!("write {scheme}:{} without //", rest.trim_start_matches('/')))
        }
        Some(("tcp", rest)) => host_and_port(rest).map(|(host, port)| Endpoint::Tcp(host, port)),
        Some(("udp", rest)) => host_and_port(rest).map(|(host, port)| Endpoint::Udp(host, port)),
        Some(("unix", place)) => unix_place(place).map(Endpoint::Unix),
        _ => Err(FORM.to_owned()),
    }
}

/// Reads an endpoint with options behind it, such as `tcp:*:1512,proxy`. `names` are those that an option can have.
///
/// An option begins at a comma that such a name follows, up to `=`, the next comma or the end. All else belongs to what
/// stands before it, so that an option's value and a path may contain commas: `unix:/tmp/a,b,proxy` is the path `/tmp/a,b`
/// with the option `proxy`. Options are returned as they were written, with their values.
///
/// # Errors
///
/// The right form, if the text is no endpoint, or if an option of TCP or UDP has no such name. What a value means is for
/// the caller to judge.
pub fn listener(text: &str, names: &[&str]) -> Result<(Endpoint, Vec<String>), String> {
    let mut parts: Vec<String> = Vec::new();
    for piece in text.split(',') {
        let is_option = piece.split('=').next().is_some_and(|name| names.contains(&name));
        match parts.last_mut() {
            Some(part) if !is_option => {
                part.push(',');
                part.push_str(piece);
            }
            _ => parts.push(piece.to_owned()),
        }
    }
    let mut parts = parts.into_iter();
    let place = parts.next().unwrap_or_default();
    if let Some((_, option)) = place.split_once(',').filter(|_| !place.starts_with("unix:")) {
        return Err(format!("a listener has no option {option:?}: expected {}", names.join(" or ")));
    }
    Ok((endpoint(&place)?, parts.collect()))
}

fn host_and_port(text: &str) -> Result<(Host, u16), String> {
    let missing = |host: &str| format!("the port is missing, as in {host}:1512");
    let (host, number) = if let Some(bracketed) = text.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or(FORM)?;
        if host.parse::<Ipv4Addr>().is_ok() {
            return Err(format!("write {host}{rest} without brackets, which are for IPv6 addresses"));
        }
        (host, rest.strip_prefix(':').ok_or_else(|| missing(&format!("[{host}]")))?)
    } else {
        if is_ipv6(text) || text.rsplit_once(':').is_some_and(|(host, _)| is_ipv6(host)) {
            return Err("an IPv6 address needs brackets, as in [::1]:1512".to_owned());
        }
        match text.rsplit_once(':') {
            Some(("", _)) => return Err("the host is missing, as in *:1512 or localhost:1512".to_owned()),
            Some(host_and_number) => host_and_number,
            None if is_number(text) => return Err(format!("the host is missing, as in *:{text} or localhost:{text}")),
            None => return Err(missing(if text.is_empty() { "*" } else { text })),
        }
    };
    let port = if is_number(number) { number.parse().ok() } else { None };
    let port = port.ok_or_else(|| format!("expected a port from 0 to 65535 in place of {number:?}"))?;
    Ok((read_host(host, text.starts_with('['))?, port))
}

fn read_host(host: &str, bracketed: bool) -> Result<Host, String> {
    if bracketed || host.contains('%') || host.parse::<Ipv4Addr>().is_ok() {
        let address = address(host)?;
        // IPv6 sockets receive IPv6 only.
        if let IpAddr::V6(v6) = address.ip()
            && let Some(v4) = v6.to_ipv4_mapped()
        {
            return Err(format!("this is an IPv4 address, so write {v4}"));
        }
        return Ok(Host::Address(address));
    }
    match host {
        "*" => Ok(Host::Every),
        "localhost" => Ok(Host::Localhost),
        _ => Err(format!("expected *, localhost or an IP address such as 127.0.0.1 or [::1] in place of {host:?}")),
    }
}

fn unix_place(text: &str) -> Result<UnixPlace, String> {
    let name = text.strip_prefix('@');
    let what = if name.is_some() { "name" } else { "path" };
    let bytes = name.unwrap_or(text);
    if name.is_some() && !cfg!(target_os = "linux") {
        Err(format!("only Linux has sockets with names in place of paths: for a file write unix:./{text}"))
    } else if bytes.is_empty() {
        Err(format!("the {what} is missing, as in unix:/tmp/parrot.sock"))
    } else if bytes.contains('\0') {
        Err(format!("the {what} of a socket cannot contain a zero byte"))
    } else if bytes.len() > LONGEST {
        Err(format!("the {what} of a socket has at most {LONGEST} bytes, and this one has {}", bytes.len()))
    } else if let Some(name) = name {
        Ok(UnixPlace::Abstract(name.to_owned()))
    } else {
        Ok(UnixPlace::Path(text.into()))
    }
}

/// Whether this is an IPv6 address, with or without a zone.
fn is_ipv6(text: &str) -> bool {
    text.split('%').next().is_some_and(|literal| literal.parse::<Ipv6Addr>().is_ok())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Host {
    /// The socket addresses with this port, IPv4 first. `*` and `localhost` have one of each family, and the machine may
    /// lack one of them.
    ///
    /// # Errors
    ///
    /// When no interface has the name or number of an address's zone. It may come later.
    pub fn addresses(&self, port: u16) -> Result<Vec<SocketAddr>, NoInterface> {
        let both = |v4: Ipv4Addr, v6: Ipv6Addr| vec![SocketAddr::from((v4, port)), SocketAddr::from((v6, port))];
        Ok(match self {
            Host::Every => both(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED),
            Host::Localhost => both(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
            Host::Address(address) => vec![address.at(port)?],
        })
    }
}

impl UnixPlace {
    /// The address for a socket to bind or to connect to.
    ///
    /// # Errors
    ///
    /// When no socket can be at this place, which [`endpoint`] has checked for those that it reads.
    pub fn address(&self) -> io::Result<UnixAddress> {
        match self {
            UnixPlace::Path(path) => UnixAddress::from_pathname(path),
            #[cfg(target_os = "linux")]
            UnixPlace::Abstract(name) => UnixAddress::from_abstract_name(name),
            #[cfg(not(target_os = "linux"))]
            UnixPlace::Abstract(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(host, port) => write!(f, "tcp:{host}:{port}"),
            Endpoint::Udp(host, port) => write!(f, "udp:{host}:{port}"),
            Endpoint::Unix(place) => write!(f, "unix:{place}"),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Every => f.write_str("*"),
            Host::Localhost => f.write_str("localhost"),
            Host::Address(address) if address.ip().is_ipv6() => write!(f, "[{address}]"),
            Host::Address(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for UnixPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnixPlace::Path(path) => path.display().fmt(f),
            UnixPlace::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_written_alike() {
        for text in [
            "tcp:*:1512",
            "udp:localhost:0",
            "tcp:127.0.0.1:65535",
            "udp:[::1]:1512",
            "tcp:[fe80::1%eth0]:7",
            "unix:/tmp/parrot.sock",
            "unix:parrot.sock",
            "unix:./@parrot",
            "unix:/tmp/a:b,c d",
        ] {
            assert_eq!(endpoint(text).unwrap().to_string(), text);
        }
        assert_eq!(endpoint("udp:*:7"), Ok(Endpoint::Udp(Host::Every, 7)));
        assert_eq!(endpoint("unix:a,proxy"), Ok(Endpoint::Unix(UnixPlace::Path("a,proxy".into()))));
    }

    #[test]
    fn other_text_is_refused_with_the_right_form() {
        let (form, host) = ("expected tcp:HOST:PORT", "expected *, localhost or an IP address");
        for (text, right) in [
            ("", form),
            ("1512", form),
            ("*:1512", form),
            ("localhost:1512", form),
            ("sctp:*:1512", form),
            ("TCP:*:1512", form),
            ("tcp://localhost:1512", "write tcp:localhost:1512 without //"),
            ("tcp:", "the port is missing, as in *:1512"),
            ("tcp:*", "the port is missing, as in *:1512"),
            ("udp:localhost", "as in localhost:1512"),
            ("tcp:[::1]", "as in [::1]:1512"),
            ("tcp:[::1]1512", "as in [::1]:1512"),
            ("tcp:[::1", form),
            ("tcp:1512", "the host is missing, as in *:1512"),
            ("tcp::1512", "the host is missing"),
            ("tcp:*:", "from 0 to 65535"),
            ("tcp:*:65536", "from 0 to 65535"),
            ("tcp:*:+7", "from 0 to 65535"),
            ("tcp:*:-1", "from 0 to 65535"),
            ("tcp:*:echo", "from 0 to 65535"),
            ("tcp:*:1512,proxy", "in place of \"1512,proxy\""),
            ("tcp:::1512", "needs brackets"),
            ("tcp:::1:1512", "needs brackets"),
            ("tcp:fe80::1%eth0:1512", "needs brackets"),
            ("tcp:::1", "needs brackets"),
            ("tcp:[127.0.0.1]:1512", "127.0.0.1:1512 without brackets"),
            ("tcp:[localhost]:1512", "such as 127.0.0.1, ::1"),
            ("tcp:[*]:1512", "such as 127.0.0.1, ::1"),
            ("tcp:[]:1512", "such as 127.0.0.1, ::1"),
            ("tcp:[::1%]:1512", "::1%INTERFACE"),
            ("tcp:[fe80::1]:1512", "fe80::1%INTERFACE"),
            ("tcp:127.0.0.1%lo:1512", "only an IPv6 address"),
            ("tcp:[::ffff:127.0.0.1]:1512", "so write 127.0.0.1"),
            ("udp:224.0.0.1:1512", "multicast"),
            ("udp:[ff02::1%eth0]:1512", "multicast"),
            ("udp:255.255.255.255:1512", "broadcast"),
            ("tcp:example.org:1512", host),
            ("tcp:**:1512", host),
            ("tcp:300.0.0.1:1512", host),
            ("tcp: *:1512", host),
            ("unix:", "the path is missing, as in unix:/tmp/parrot.sock"),
            ("unix:/tmp/\0", "zero byte"),
        ] {
            let error = endpoint(text).unwrap_err();
            assert!(error.contains(right), "{text}: {error}");
        }
    }

    #[test]
    fn a_path_is_as_long_as_the_system_allows() {
        let longest = "x".repeat(LONGEST);
        let place = UnixPlace::Path(longest.clone().into());
        assert_eq!(place.address().unwrap().as_pathname(), Some(longest.as_ref()));
        assert_eq!(endpoint(&format!("unix:{longest}")), Ok(Endpoint::Unix(place)));
        assert!(UnixPlace::Path(format!("{longest}x").into()).address().is_err());
        let error = endpoint(&format!("unix:{longest}x")).unwrap_err();
        assert!(error.contains(&format!("at most {LONGEST} bytes")), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_socket_may_have_an_abstract_name() {
        let longest = "x".repeat(LONGEST);
        for name in ["parrot", &longest] {
            let place = UnixPlace::Abstract(name.to_owned());
            assert_eq!(place.address().unwrap().as_abstract_name(), Some(name.as_bytes()));
            assert_eq!(place.to_string(), format!("@{name}"));
            assert_eq!(endpoint(&format!("unix:@{name}")), Ok(Endpoint::Unix(place)));
        }
        assert!(UnixPlace::Abstract(format!("{longest}x")).address().is_err());
        for (text, right) in [
            ("unix:@", "the name is missing"),
            ("unix:@a\0b", "zero byte"),
            (&format!("unix:@{longest}x"), "at most 107 bytes"),
        ] {
            let error = endpoint(text).unwrap_err();
            assert!(error.contains(right), "{text}: {error}");
        }
    }

    #[cfg(not(target_os = "linux"))]
    #[test]
    fn a_name_is_refused_where_there_are_none() {
        let error = endpoint("unix:@parrot").unwrap_err();
        assert!(error.contains("only Linux") && error.contains("unix:./@parrot"), "{error}");
        assert!(UnixPlace::Abstract("parrot".to_owned()).address().is_err());
    }

    #[test]
    fn options_are_split_off_at_known_names() {
        let names = ["proxy", "fault"];
        for (text, place, options) in [
            ("tcp:*:1512", "tcp:*:1512", &[][..]),
            ("tcp:*:1512,proxy", "tcp:*:1512", &["proxy"][..]),
            ("udp:*:7,fault=loss=1%,seed=2,proxy", "udp:*:7", &["fault=loss=1%,seed=2", "proxy"]),
            ("tcp:[::1]:7,fault=a,fault=b", "tcp:[::1]:7", &["fault=a", "fault=b"]),
            ("unix:/tmp/a,b,proxy", "unix:/tmp/a,b", &["proxy"]),
            ("unix:/tmp/a,proxying", "unix:/tmp/a,proxying", &[]),
            ("unix:proxy", "unix:proxy", &[]),
        ] {
            let (endpoint, found) = listener(text, &names).unwrap();
            assert_eq!(endpoint.to_string(), place);
            assert_eq!(found, options, "{text}");
        }
    }

    #[test]
    fn an_unknown_option_is_refused_with_those_there_are() {
        let refused = |text| listener(text, &["proxy", "fault"]).unwrap_err();
        assert!(refused("tcp:*:1512,porxy").contains("no option \"porxy\": expected proxy or fault"));
        assert!(refused("tcp:*:1512,").contains("no option \"\""));
        assert!(refused("tcp:*,proxy").contains("the port is missing"));
        assert!(refused("proxy").contains("expected tcp:HOST:PORT"));
    }

    #[test]
    fn stars_and_localhost_stand_for_both_families() {
        let addresses = |host: Host| host.addresses(7).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(addresses(Host::Every), ["0.0.0.0:7", "[::]:7"]);
        assert_eq!(addresses(Host::Localhost), ["127.0.0.1:7", "[::1]:7"]);
        assert_eq!(addresses(Host::Address(address("::1").unwrap())), ["[::1]:7"]);
        let nowhere = Host::Address(address("fe80::1%nowhere").unwrap());
        assert!(nowhere.addresses(7).unwrap_err().to_string().contains("no interface nowhere"));
    }
}
