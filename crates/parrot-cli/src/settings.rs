//! From the options of the command to those of the server.

use std::num::{NonZeroU32, NonZeroUsize};

use anyhow::Result;
use parrot_server::{
    Config, Limits, Listen, MemoryLimit, ProxyProtocol, Replies, Settings, Template, UdpRules, lookup,
};

use crate::arguments::Arguments;
use crate::faults;

/// The options that hold from turn to turn, and so from one reload to the next.
///
/// # Errors
///
/// Faults that contradict each other.
pub(crate) fn settings(arguments: &Arguments) -> Result<Settings> {
    let limits = Limits {
        max_connections: arguments.max_connections.map(NonZeroUsize::get),
        max_buffered: arguments.max_buffered.unwrap_or_else(|| default_max_buffered().0),
        idle_timeout: arguments.idle_timeout,
        drain_delay: arguments.drain_delay.unwrap_or_default(),
        drain_timeout: arguments.drain_timeout,
        busy_poll: arguments.busy_poll,
        ..Limits::default()
    };
    let proxy = ProxyProtocol {
        everywhere: arguments.proxy_protocol,
        timeout: arguments.proxy_timeout.unwrap_or(ProxyProtocol::default().timeout),
        from: arguments.proxy_from.clone(),
    };
    let greeting = if arguments.identify { Some(Template::identify(lookup)) } else { arguments.greeting.clone() };
    let replies = Replies { greeting, prefix: arguments.prefix.clone() };
    let udp = UdpRules { answer_low_ports: arguments.udp_answer_low_ports, rate: arguments.udp_rate };
    let faults = faults::plan(arguments, &arguments.fault)?;
    Ok(Settings { limits, proxy, replies, udp, faults })
}

/// All options of a server that listens on these places.
///
/// # Errors
///
/// As for [`settings`].
pub(crate) fn config(arguments: &Arguments, listen: Vec<Listen>) -> Result<Config> {
    let Settings { limits, proxy, replies, udp, faults } = settings(arguments)?;
    Ok(Config {
        listen,
        backlog: arguments.backlog.map(NonZeroU32::get),
        reuse_port: arguments.reuse_port,
        keepalive: arguments.keepalive.0,
        limits,
        proxy,
        replies,
        udp,
        faults,
        ..Config::default()
    })
}

/// Options of the two that differ and hold only from the next start on, because an open socket cannot follow them.
pub(crate) fn fixed(running: &Arguments, wanted: &Arguments) -> Vec<&'static str> {
    let differ = [
        ("--reuse-port", running.reuse_port != wanted.reuse_port),
        ("--unix-mode", running.unix_mode != wanted.unix_mode),
        ("--backlog", running.backlog != wanted.backlog),
        ("--keepalive", running.keepalive != wanted.keepalive),
        ("--proxy-protocol", running.proxy_protocol != wanted.proxy_protocol),
        ("--admin", running.admin() != wanted.admin()),
        ("--ready-file", running.ready_file != wanted.ready_file),
    ];
    differ.into_iter().filter_map(|(option, differs)| differs.then_some(option)).collect()
}

/// The memory for replies if no option says: no more than a quarter of a limit that the process has, so that peers that
/// do not read cannot have it killed. If that is less than usual, also why.
pub(crate) fn default_max_buffered() -> (usize, Option<String>) {
    let Limits { max_buffered, max_output, .. } = Limits::default();
    let Some(limit) = MemoryLimit::of_this_process() else { return (max_buffered, None) };
    let quarter = usize::try_from(limit.bytes() / 4).unwrap_or(usize::MAX);
    if quarter >= max_buffered {
        return (max_buffered, None);
    }
    let reduced = quarter.max(max_output);
    let (reduced_to, allowed) = (mebibytes(reduced as u64), mebibytes(limit.bytes()));
    let reason =
        format!("replies may use {reduced_to} of the {allowed} that {limit} allows (--max-buffered changes this)");
    (reduced, Some(reason))
}

/// A number of bytes in MiB. Without floating point, because the `Display` of `ByteSize` would bring in the system's
/// library of mathematics, and with it 350 KiB of memory.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20)
}
