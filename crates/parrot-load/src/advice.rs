//! What to do about a connection that could not be opened.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use rustix::io::Errno;

use crate::dial;
use crate::plan::{Close, Plan, Reconnect};
use crate::target::Target;
use crate::targets::Targets;

/// The error of a run for which no target took a connection.
pub(crate) fn unreachable(plan: &Plan, targets: &Targets<'_>) -> String {
    let tried: Vec<String> = targets
        .refusals()
        .map(|(target, why)| format!("{target}{}", why.map(|why| format!(" ({why})")).unwrap_or_default()))
        .collect();
    let next = match targets.refusals().last() {
        Some((target, Some(error))) if !is_of_server(error) => advice(plan, target, error),
        _ => Some("is a server listening there?".to_owned()),
    };
    let (tried, next) = (tried.join(" or "), next.map_or(String::new(), |next| format!(": {next}")));
    if plan.is_udp() {
        return format!("no datagram came back from {tried}{next}");
    }
    format!("no connection to {tried} could be opened{next}")
}

/// Whether an error says that no server listens.
fn is_of_server(error: &io::Error) -> bool {
    let refusals = [Errno::CONNREFUSED, Errno::CONNRESET, Errno::CONNABORTED];
    // An error without a number is a connection to itself, a timeout, or one of the load generator's own.
    Errno::from_io_error(error).map_or(error.kind() == io::ErrorKind::Other, |errno| refusals.contains(&errno))
}

/// The next step if it is not the server that keeps connections to `target` from opening, as far as the error shows that.
pub(crate) fn advice(plan: &Plan, target: &Target, error: &io::Error) -> Option<String> {
    if error.kind() == io::ErrorKind::InvalidData {
        let leave_out = "leave out --skip-greeting if the server sends no line first";
        return Some(match plan.proxy {
            None => format!("{leave_out}, or add --proxy-protocol v2 if it waits for a PROXY header"),
            Some(_) => leave_out.to_owned(),
        });
    }
    match target {
        Target::Tcp(address) => advice_on_ip(plan, *address, error),
        Target::Udp(address) => advice_on_udp(plan, *address, error),
        Target::Unix(_) => advice_on_unix(error),
    }
}

fn advice_on_udp(plan: &Plan, target: SocketAddr, error: &io::Error) -> Option<String> {
    match Errno::from_io_error(error) {
        None if error.kind() == io::ErrorKind::TimedOut => Some(format!(
            "is a server listening there? A firewall may drop datagrams as well, and a server may refuse those of {} bytes",
            plan.size
        )),
        Some(Errno::MSGSIZE) => Some("this machine sends no datagrams of this size: use a smaller --size".to_owned()),
        _ => advice_on_ip(plan, target, error),
    }
}

fn advice_on_unix(error: &io::Error) -> Option<String> {
    Some(match Errno::from_io_error(error) {
        None if error.kind() == io::ErrorKind::TimedOut => {
            "the server accepts too slowly, so its backlog stays full: wait longer with --timeout".to_owned()
        }
        Some(Errno::NOENT | Errno::NOTDIR) => "is a server listening there?".to_owned(),
        Some(Errno::ACCESS | Errno::PERM) => {
            "the permissions of the socket or its directories keep this user out: run as a user whom they let in"
                .to_owned()
        }
        Some(Errno::PROTOTYPE) => "it is no stream socket, and only these are spoken to".to_owned(),
        Some(Errno::NOTSOCK) => "it is no socket: is a server listening there?".to_owned(),
        Some(errno) => return lack_of_resources(errno),
        None => return None,
    })
}

/// What to do if the process or the machine has too little of something that every socket needs.
fn lack_of_resources(errno: Errno) -> Option<String> {
    Some(match errno {
        Errno::MFILE => "this process has no descriptor left: raise the limit with `ulimit -n`, or use fewer \
                         connections"
            .into(),
        Errno::NFILE => format!(
            "this machine has no descriptor left: end other programs, or raise its limit (sysctl {})",
            if cfg!(target_os = "linux") { "fs.file-max" } else { "kern.maxfiles" }
        ),
        Errno::NOBUFS | Errno::NOMEM => "this machine has no memory left for sockets: use fewer connections".into(),
        _ => return None,
    })
}

fn advice_on_ip(plan: &Plan, target: SocketAddr, error: &io::Error) -> Option<String> {
    let ip = target.ip();
    let Some(errno) = Errno::from_io_error(error) else {
        return (error.kind() == io::ErrorKind::TimedOut).then(|| too_slow(ip));
    };
    Some(match errno {
        Errno::TIMEDOUT => too_slow(ip),
        Errno::ADDRNOTAVAIL => no_port_or_address(plan, target),
        // Some systems report a lack of ports in these words: Linux at a bind, NetBSD at a connect.
        Errno::ADDRINUSE | Errno::AGAIN => no_port(plan),
        Errno::PERM | Errno::ACCESS => {
            format!("a firewall, a route or a sandbox of this machine forbids connections to {ip}: allow them there")
        }
        Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NETDOWN | Errno::HOSTDOWN => format!(
            "there is no way from here to {ip}: check the address and the route to it (`{}` shows it)",
            route_command(ip)
        ),
        Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT => no_address(ip),
        Errno::INVAL => refused_by_system(plan, target),
        errno => return lack_of_resources(errno),
    })
}

fn too_slow(ip: IpAddr) -> String {
    format!(
        "{ip} sends no answer: check the address and the firewalls on the way, or wait longer with --timeout if the \
         server is too busy to accept"
    )
}

/// The same error stands for a lack of ports and of addresses. UDP has ports of its own, so it finds out which it is.
fn no_port_or_address(plan: &Plan, target: SocketAddr) -> String {
    let ip = target.ip();
    match plan.sources.first().map(SocketAddr::ip) {
        Some(source) if lacks_address(source) => {
            format!("{source} is no longer an address of this machine: use another --source")
        }
        // ::1 has the same address at both ends, and a machine without IPv6 has no ::1.
        None if ip.is_loopback() && lacks_address(ip) => no_address(ip),
        _ => no_port(plan),
    }
}

fn lacks_address(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

fn no_port(plan: &Plan) -> String {
    let sources = "add --source ADDRESS, since each address has ports of its own";
    if plan.is_udp() {
        return format!("no local port is left: {sources}, or use fewer sockets (--connections)");
    }
    let help = match plan.reconnect {
        Some(Reconnect { close: Close::Finish, after }) => format!(
            "use --close reset, which frees the port at once, or {sources}, or {}",
            if after > 1 {
                "send more messages on each connection"
            } else {
                "keep connections open (--keep-alive true)"
            }
        ),
        _ => format!("{sources}, or use fewer connections"),
    };
    format!("no local port is left, and that of a closed connection stays taken for a while (TIME_WAIT): {help}")
}

fn no_address(ip: IpAddr) -> String {
    let (family, other) = if ip.is_ipv4() { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
    format!("this machine has no {family} address from which it could reach {ip}: use the server's {other} address")
}

fn refused_by_system(plan: &Plan, target: SocketAddr) -> String {
    let ip = target.ip();
    match (target, plan.sources.first()) {
        (SocketAddr::V6(v6), _) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0 => {
            format!("{ip} is reached through an interface, so name it behind the address: {ip}%INTERFACE")
        }
        (_, Some(source)) => {
            let (source, target) = (dial::host(source), dial::host(&target));
            format!("this machine does not connect from {source} to {target}: leave out --source, or use another")
        }
        _ => format!("this machine does not connect to {ip}: check the route to it (`{}` shows it)", route_command(ip)),
    }
}

/// The command that shows the route to an address.
fn route_command(ip: IpAddr) -> String {
    match std::env::consts::OS {
        "linux" => format!("ip route get {ip}"),
        _ if ip.is_ipv6() => format!("route -n get -inet6 {ip}"),
        _ => format!("route -n get {ip}"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn plan() -> Plan {
        Plan::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1512)))
    }

    /// The error of a run whose only connection failed like this.
    fn error(plan: &Plan, errno: Errno) -> String {
        let targets = Targets::new(&plan.targets);
        targets.refused(0, errno.into());
        unreachable(plan, &targets)
    }

    #[test]
    fn each_errno_of_connect_has_its_advice() {
        for (errno, advice) in [
            (Errno::CONNREFUSED, "is a server listening there?"),
            (Errno::CONNRESET, "is a server listening there?"),
            (Errno::TIMEDOUT, "sends no answer"),
            (Errno::ADDRNOTAVAIL, "no local port is left"),
            (Errno::ADDRINUSE, "no local port is left"),
            (Errno::AGAIN, "no local port is left"),
            (Errno::MFILE, "ulimit -n"),
            (Errno::NFILE, "this machine has no descriptor left"),
            (Errno::NOBUFS, "fewer connections"),
            (Errno::NOMEM, "fewer connections"),
            (Errno::PERM, "forbids"),
            (Errno::ACCESS, "forbids"),
            (Errno::NETUNREACH, "no way from here"),
            (Errno::HOSTUNREACH, "no way from here"),
            (Errno::NETDOWN, "no way from here"),
            (Errno::HOSTDOWN, "no way from here"),
            (Errno::AFNOSUPPORT, "no IPv4 address"),
            (Errno::INVAL, "does not connect to 127.0.0.1"),
        ] {
            let error = error(&plan(), errno);
            assert!(error.contains(advice), "{error}");
            assert_eq!(error.contains("is a server"), advice.contains("is a server"), "{error}");
        }
    }

    #[test]
    fn an_unknown_errno_gets_no_advice() {
        let error = error(&plan(), Errno::NOTSOCK);
        assert!(error.ends_with("could be opened"), "{error}");
    }

    #[test]
    fn advice_on_ports_fits_the_plan() {
        for (reconnect, resets) in [(Some(Close::Finish), true), (Some(Close::Reset), false), (None, false)] {
            let reconnect = reconnect.map(|close| close.after(1));
            let error = error(&Plan { reconnect, ..plan() }, Errno::ADDRNOTAVAIL);
            assert!(error.contains("--source") && error.contains("--close reset") == resets, "{error}");
        }
    }

    #[test]
    fn a_link_local_target_needs_its_interface() {
        let targets = vec!["[fe80::1]:7".parse::<SocketAddr>().expect("an address").into()];
        assert!(error(&Plan { targets, ..plan() }, Errno::INVAL).contains("fe80::1%INTERFACE"));
    }
}
