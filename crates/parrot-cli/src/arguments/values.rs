//! The values of the options, from text.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use parrot_log::MAX_PAYLOAD;
use parrot_server::{Limits, Template, TemplateError, lookup};
use parrot_values::{Address, duration, size};

use super::Keepalive;

/// The reason why this value of PARROT_PORT is not what a user wanted, if it is not.
///
/// Beside a service or a link named `parrot`, Kubernetes and Docker set PARROT_PORT to its address, such as
/// `tcp://10.96.0.12:1512` (pkg/kubelet/envvars/envvars.go, daemon/links/links.go). The protocol can also be `udp` or
/// `sctp`, and an old Kubernetes writes IPv6 without brackets. The address is never a name. Compose sets a variable to
/// nothing if the one that it copies is not set. Any other value was written by a user, and a mistake in it is wrong usage.
pub(super) fn set_by_platform(port: &str) -> Option<&'static str> {
    if port.trim().is_empty() {
        return Some("it is empty");
    }
    let address = ["tcp://", "udp://", "sctp://"].iter().find_map(|protocol| port.strip_prefix(protocol))?;
    let (ip, number) = address.rsplit_once(':')?;
    let ip = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
    let is_address = ip.parse::<IpAddr>().is_ok() && number.parse::<u16>().is_ok();
    is_address.then_some("it is the address of a service named parrot, as Kubernetes and Docker set it")
}

pub(super) fn port(text: &str) -> Result<u16, &'static str> {
    // A file with the environment may leave the end of its line behind the number.
    text.trim()
        .parse()
        .map_err(|_| "expected a number from 0 to 65535, here or in the environment variable PARROT_PORT")
}

pub(super) fn backlog(text: &str) -> Result<NonZeroU32, &'static str> {
    text.parse().map_err(|_| "expected a number from 1 up; without this option as many wait as the system allows")
}

pub(super) fn max_connections(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "expected a number from 1 up; without this option only the descriptors limit them")
}

/// The least is one buffer, which the server always has.
pub(super) fn max_buffered(text: &str) -> Result<usize, String> {
    match size(text)? {
        least if least < Limits::default().max_output => {
            Err("expected 128KiB at least, which is the buffer of one connection".to_owned())
        }
        most => Ok(most),
    }
}

pub(super) fn bind_address(text: &str) -> Result<Address, String> {
    let address = parrot_values::address(text)?;
    // The IPv6 sockets accept IPv6 connections only.
    if let IpAddr::V6(v6) = address.ip()
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        return Err(format!("this is an IPv4 address, so write {v4}"));
    }
    Ok(address)
}

pub(super) fn log_payload(text: &str) -> Result<usize, String> {
    match size(text)? {
        limit if limit > MAX_PAYLOAD => Err(format!("a line shows {MAX_PAYLOAD} bytes at most")),
        limit => Ok(limit),
    }
}

pub(super) fn idle_timeout(text: &str) -> Result<Duration, &'static str> {
    match duration(text)? {
        Duration::ZERO => Err("expected a duration above zero; without this option there is no idle timeout"),
        idle_timeout => Ok(idle_timeout),
    }
}

/// The range is what Linux accepts: a second to `MAX_TCP_KEEPIDLE` (include/net/tcp.h).
pub(super) fn keepalive(text: &str) -> Result<Keepalive, &'static str> {
    const RANGE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(32_767);
    if text == "off" {
        return Ok(Keepalive(None));
    }
    match duration(text) {
        Ok(time) if RANGE.contains(&time) => Ok(Keepalive(Some(time))),
        _ => Err("expected a time from 1s to 9h, such as 5m or 2h, or off"),
    }
}

/// Permissions in octal, as chmod(1) takes them.
pub(super) fn unix_mode(text: &str) -> Result<u32, &'static str> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let is_octal = digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
    mode.ok_or("expected permissions in octal up to 0777, such as 0660")
}

pub(super) fn proxy_timeout(text: &str) -> Result<Duration, &'static str> {
    match duration(text)? {
        Duration::ZERO => Err("expected a duration above zero, because a header takes time to arrive"),
        timeout => Ok(timeout),
    }
}

pub(super) fn udp_rate(text: &str) -> Result<NonZeroU32, &'static str> {
    text.parse().map_err(|_| "expected a number of answers a second from 1 up; without this option there is no bound")
}

pub(super) fn greeting(text: &str) -> Result<Template, TemplateError> {
    Template::line(text, lookup)
}

pub(super) fn prefix(text: &str) -> Result<Template, TemplateError> {
    Template::raw(text, lookup)
}
