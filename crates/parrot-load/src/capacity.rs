//! Checks before the first connection whether this machine has the descriptors, ports and addresses for a plan.

use std::fmt;
use std::net::SocketAddr;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::dial;
use crate::plan::Plan;

/// Descriptors for other things than connections: standard streams, queues, output files.
const RESERVE: u64 = 32;

/// What the machine has too little of for a plan, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage(String);

impl fmt::Display for Shortage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Shortage {}

/// Raises the soft limit of descriptors and checks it, the ports and the source addresses.
///
/// # Errors
///
/// The first resource that is short, with the command that raises it.
pub(crate) fn check(plan: &Plan) -> Result<(), Shortage> {
    for source in &plan.sources {
        if let Err(error) = dial::usable(*source) {
            return Err(Shortage(format!(
                "cannot connect from {} ({error}): {}",
                dial::host(source),
                match source {
                    SocketAddr::V6(v6) if v6.scope_id() != 0 => "use an address of that interface".to_owned(),
                    source => alias_command(source.ip()),
                }
            )));
        }
    }
    descriptors(raise_descriptor_limit(), plan.connections.saturating_add(plan.idle))?;
    if plan.targets.iter().all(|target| target.ip().is_none()) {
        return Ok(()); // a Unix socket has no ports
    }
    ports(port_range(), plan.sources.len().max(1), plan.kept())
}

fn descriptors(limit: u64, connections: usize) -> Result<(), Shortage> {
    let wanted = (connections as u64).saturating_add(RESERVE);
    if limit >= wanted {
        return Ok(());
    }
    // Except on macOS the soft limit equals the hard one by now.
    Err(Shortage(format!(
        "{connections} connections need {wanted} descriptors and the limit is {limit}: {}",
        if cfg!(target_os = "macos") {
            format!("raise it with `ulimit -n {wanted}` (and, as root, `sysctl kern.maxfilesperproc`)")
        } else {
            format!(
                "that is the hard limit, which only root can raise, with `ulimit -n {wanted}` in the shell that starts \
                 this program, or for a user's next login in {}",
                if cfg!(target_os = "linux") { "/etc/security/limits.conf" } else { "/etc/login.conf" }
            )
        }
    )))
}

fn ports(range: u64, sources: usize, connections: usize) -> Result<(), Shortage> {
    let capacity = range * sources as u64;
    if capacity >= connections as u64 {
        return Ok(());
    }
    Err(Shortage(format!(
        "{connections} connections to one address need as many ports, and there are {capacity}: add --source ADDRESS \
         (each brings {range} more) or {}",
        if cfg!(target_os = "linux") {
            "widen the range with `sysctl -w net.ipv4.ip_local_port_range='1024 65535'`"
        } else {
            "widen the range (sysctl net.inet.ip.portrange.first on macOS and FreeBSD, portfirst on OpenBSD, \
             anonportmin on NetBSD)"
        }
    )))
}

/// Raises this process's soft limit of descriptors to the hard one, or as far as the system allows, and returns it.
fn raise_descriptor_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    // macOS calls its hard limit infinite and takes no more than OPEN_MAX (setrlimit(2)).
    for wanted in [hard, hard.min(10_240)] {
        limit.current = Some(wanted);
        if wanted > soft && setrlimit(Resource::Nofile, limit).is_ok() {
            return wanted;
        }
    }
    soft
}

/// How many ports the system hands out for one source address.
#[cfg(target_os = "linux")]
fn port_range() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let ends: Vec<u64> = text.split_whitespace().filter_map(|end| end.parse().ok()).collect();
    match ends[..] {
        [first, last] if last >= first => last - first + 1,
        _ => 28_232,
    }
}

/// The default of each system. FreeBSD's range begins at 10,000, that of the others at 49,152 (ip(4), inet(4)).
#[cfg(not(target_os = "linux"))]
fn port_range() -> u64 {
    if cfg!(target_os = "freebsd") { 55_536 } else { 16_384 }
}

/// The command that adds an address to loopback. Linux has all of 127.0.0.0/8 there, the other systems only 127.0.0.1.
fn alias_command(source: std::net::IpAddr) -> String {
    match std::env::consts::OS {
        "linux" => format!("give this machine the address with `ip address add {source} dev lo`"),
        "macos" | "freebsd" => format!("give this machine the address with `ifconfig lo0 alias {source}`"),
        _ => format!("give this machine the address with `ifconfig lo0 {source} alias`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_descriptors_are_refused_with_a_command() {
        assert_eq!(descriptors(10_032, 10_000), Ok(()));
        let shortage = descriptors(1024, 10_000).expect_err("too few").to_string();
        assert!(shortage.contains("ulimit -n 10032"), "{shortage}");
        assert_eq!(shortage.contains("only root can raise"), cfg!(not(target_os = "macos")), "{shortage}");
    }

    #[test]
    fn too_few_ports_are_refused_and_another_source_helps() {
        let shortage = ports(16_384, 1, 20_000).expect_err("too few").to_string();
        assert!(shortage.contains("--source"), "{shortage}");
        assert_eq!(ports(16_384, 2, 20_000), Ok(()));
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        let mut plan = Plan::new(SocketAddr::from(([127, 0, 0, 1], 1512)));
        plan.sources = vec![SocketAddr::from(([192, 0, 2, 1], 0))]; // TEST-NET-1, RFC 5737
        let shortage = check(&plan).expect_err("not an address of this machine").to_string();
        assert!(shortage.contains("192.0.2.1"), "{shortage}");
    }
}
