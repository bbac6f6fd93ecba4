//! System calls that fail, and networks that are bad.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::peer::Sockets;
use crate::scenario::{Network, Scenario, Storm};
use crate::server::Launch;

use super::slow::all_back;
use super::soak::{MIXED, mixed};

/// Faults that cost no conversation a byte. Under strace every call takes long.
const fn harmless(name: &'static str, story: &'static str, inject: &'static [&'static str]) -> Scenario {
    Scenario { name, story, inject, latencies: Scenario::SLOWLY, storm: injected, ..Scenario::PLAIN }
}

/// Faults that end the conversation they hit, and no other.
const fn harmful(name: &'static str, story: &'static str, inject: &'static [&'static str]) -> Scenario {
    Scenario { cuts_off: true, ..harmless(name, story, inject) }
}

const SMALL: Network = Network {
    name: "packets of 600 bytes, buffers of a page",
    commands: &[
        &["ip", "link", "set", "lo", "mtu", "600", "up"],
        &["sysctl", "-qw", "net.ipv4.tcp_wmem=4096 4096 4096", "net.ipv4.tcp_rmem=4096 4096 4096"],
    ],
};

/// Delay, jitter, loss, duplicates and disorder. Its queue is long, as what a full one refuses the sender is told of.
const NETEM: Network = Network {
    name: "netem",
    commands: &[
        &["ip", "link", "set", "lo", "up"],
        &[
            "tc",
            "qdisc",
            "add",
            "dev",
            "lo",
            "root",
            "netem",
            "limit",
            "100000",
            "delay",
            "10ms",
            "4ms",
            "loss",
            "1%",
            "duplicate",
            "1%",
            "reorder",
            "5%",
        ],
    ],
};

/// The same without netem, but for duplicates: of every 32 packets of a connection two in a row are lost, so that what is
/// sent again is lost too, and two go by a slower way.
///
/// The sender must not be told of a loss, as no network tells: a full queue of its own would. Told so of a SYN-ACK that it
/// repeats, Linux forgets the request, and resets a peer that believes itself connected before the server has heard of it
/// (reqsk_timer_handler in net/ipv4/inet_connection_sock.c); a blackhole keeps silent (net/sched/sch_blackhole.c).
const HTB: Network = Network {
    name: "htb",
    commands: &[
        &["ip", "link", "set", "lo", "mtu", "1500", "gso_max_segs", "1", "up"],
        &["tc", "qdisc", "add", "dev", "lo", "root", "handle", "1:", "htb"],
        &["tc", "class", "add", "dev", "lo", "parent", "1:", "classid", "1:1", "htb", "rate", "1gbit"],
        &["tc", "qdisc", "add", "dev", "lo", "parent", "1:1", "blackhole"],
        &["tc", "class", "add", "dev", "lo", "parent", "1:", "classid", "1:2", "htb", "rate", "20mbit"],
        // The sixth and seventh of 32, and the tenth and eleventh.
        &packets("0x0006", "1:1"),
        &packets("0x000a", "1:2"),
    ],
};

/// Sends two of every 32 packets, those whose IP Identification (RFC 791) has these bits under 0x1e, to a class of the
/// queue; not those that open a connection (SYN in TCP's flags, RFC 9293, behind a header of 20 bytes), as connecting
/// here keeps all other guests waiting. u32 has no names for these fields.
const fn packets(identification: &'static str, class: &'static str) -> [&'static str; 24] {
    [
        "tc",
        "filter",
        "add",
        "dev",
        "lo",
        "parent",
        "1:",
        "protocol",
        "ip",
        "u32",
        "match",
        "u16",
        identification,
        "0x001e",
        "at",
        "4",
        "match",
        "u8",
        "0x00",
        "0x02",
        "at",
        "33",
        "flowid",
        class,
    ]
}

pub(super) const ALL: &[Scenario] = &[
    harmless(
        "calls-interrupted",
        "waits, accepts, receives, sends and reads are interrupted (EINTR)",
        &[
            "?epoll_wait,epoll_pwait,?epoll_pwait2:error=EINTR:when=3+5",
            "accept4:error=EINTR:when=2+3",
            "recvfrom,sendto:error=EINTR:when=2+3",
            "read:error=EINTR:when=20+2",
        ],
    ),
    harmless(
        "no-memory-to-send",
        "sends and receives meet a system without memory (ENOBUFS, ENOMEM)",
        &["sendto:error=ENOBUFS:when=5+20", "recvfrom:error=ENOMEM:when=5+25"],
    ),
    harmless(
        "sockets-full",
        "sends find the socket full (EAGAIN) though it was said to have room",
        &["sendto:error=EAGAIN:when=2+3"],
    ),
    harmless(
        "accept-fails",
        "accept meets connections that have gone already (ECONNABORTED)",
        &["accept4:error=ECONNABORTED:when=4+2"],
    ),
    harmless(
        "accept-exhausted",
        "accept finds no descriptor left (EMFILE), though there is one",
        &["accept4:error=EMFILE:when=4+9"],
    ),
    harmless(
        "accept-table-full",
        "accept finds the system's table of files full (ENFILE)",
        &["accept4:error=ENFILE:when=4+9"],
    ),
    harmless("accept-no-buffers", "accept finds no buffers (ENOBUFS)", &["accept4:error=ENOBUFS:when=4+9"]),
    harmless("accept-no-memory", "accept finds no memory (ENOMEM)", &["accept4:error=ENOMEM:when=4+9"]),
    Scenario {
        storm: forbidden,
        ..harmless(
            "accept-forbidden",
            "accept is forbidden for a while (EPERM), as a filter of system calls does: the server does not spin",
            &["accept4:error=EPERM:when=24..40"],
        )
    },
    harmful(
        "set-up-fails",
        "accepted sockets cannot be set up or watched",
        &["setsockopt:error=EINVAL:when=20+7", "ioctl:error=EINVAL:when=6+9", "epoll_ctl:error=ENOMEM:when=30+11"],
    ),
    harmful(
        "peers-reset",
        "receives and sends meet resets and broken pipes, and shutdown finds no connection",
        &["recvfrom:error=ECONNRESET:when=20+50", "sendto:error=EPIPE:when=25+50", "shutdown:error=ENOTCONN:when=2+3"],
    ),
    Scenario {
        log: crate::server::Log::File,
        ..harmless(
            "log-calls-fail",
            "writes of the log find no space now and then (ENOSPC)",
            &["write:error=ENOSPC:when=3+5"],
        )
    },
    Scenario {
        name: "small-network",
        story: "a network of its own with packets of 600 bytes and socket buffers of a page on both sides",
        network: &[SMALL],
        latencies: Scenario::SLOWLY,
        storm: faults,
        ..Scenario::PLAIN
    },
    Scenario {
        name: "bad-network",
        story: "a network of its own with loss, delay, disorder and, where there is netem, jitter and duplicates",
        // A reset is sent once, and may be lost: then nobody tells the server that this peer has gone.
        // Of a conversation that fails here, the server's word on it is wanted too.
        arguments: &["--idle-timeout", "10s", "--verbose"],
        network: &[NETEM, HTB],
        latencies: Scenario::SLOWLY,
        storm: lossy,
        ..Scenario::PLAIN
    },
];

/// Connections that nobody accepts cost no processor time, and are served when it is allowed again.
fn forbidden(storm: &mut Storm<'_>) -> Result<()> {
    let mut served = 0;
    let start = Instant::now();
    while served == 0 || storm.goes_on() {
        let mut peers = storm.flock(10, Sockets::Usual)?;
        if start.elapsed() < Duration::from_secs(1) {
            storm.server_rests()?;
        }
        for peer in &mut peers {
            peer.echo(100)?;
        }
        served += peers.len();
        all_back(peers)?;
    }
    storm.tell(format!("{served} peers served"));
    told(storm)
}

fn faults(storm: &mut Storm<'_>) -> Result<()> {
    guests(storm, MIXED)
}

/// Without tiny sockets: where packets are lost, they take minutes. Linux does not send less than a segment into a window
/// that has lost a few bytes to what came out of order, but waits for the persist timer, and every packet of a peer that
/// is still sending sets that anew (tcp_ack_probe in net/ipv4/tcp_input.c).
fn lossy(storm: &mut Storm<'_>) -> Result<()> {
    let before = sent_again()?;
    guests(storm, &[Sockets::Usual])?;
    let sent_again = sent_again()? - before;
    ensure!(sent_again > 0, "this network loses nothing");
    storm.tell(format!("{sent_again} segments sent again"));
    Ok(())
}

/// How many TCP segments were sent again in this thread's network: RetransSegs, proc_net_snmp in proc_pid_net(5).
fn sent_again() -> Result<u64> {
    let snmp = std::fs::read_to_string("/proc/thread-self/net/snmp").context("cannot read TCP's counters")?;
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, numbers) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let found = names.split(' ').zip(numbers.split(' ')).find(|(name, _)| *name == "RetransSegs");
    Ok(found.context("TCP's counters have no RetransSegs")?.1.parse()?)
}

fn guests(storm: &mut Storm<'_>, sockets: &[Sockets]) -> Result<()> {
    let mixture = mixed(storm, storm.number(60, 30), sockets, |_| Ok(()))?;
    storm.tell(mixture.to_string());
    Ok(())
}

/// Says how many faults were injected, and demands that every kind of them was.
fn injected(storm: &mut Storm<'_>) -> Result<()> {
    faults(storm)?;
    told(storm)
}

fn told(storm: &mut Storm<'_>) -> Result<()> {
    // Signals are read too; answered again and again, they are seen to get through.
    for _ in 0..20 {
        storm.server.connections()?;
    }
    let path = storm.folder.join(Launch::FAULTS);
    let trace = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for line in trace.lines().filter(|line| line.ends_with("(INJECTED)")) {
        // 4711 sendto(9, …) = -1 ENOBUFS (No buffer space available) (INJECTED)
        let call = line.split_once('(').and_then(|(call, _)| call.split_whitespace().next_back()).unwrap_or_default();
        let error =
            line.rsplit_once(" = -1 ").and_then(|(_, error)| error.split_whitespace().next()).unwrap_or_default();
        *counts.entry(format!("{call} {error}")).or_default() += 1;
    }
    for fault in storm.inject {
        let (calls, rest) = fault.split_once(":error=").context("a fault has an error")?;
        let (error, _) = rest.split_once(':').context("a fault has its turns")?;
        // A question mark stands before a call that some systems do not have.
        let mut calls = calls.split(',').map(|call| call.trim_start_matches('?'));
        let hit = calls.any(|call| counts.contains_key(&format!("{call} {error}")));
        ensure!(hit, "{fault} was never injected: {counts:?}");
    }
    storm.tell(counts.iter().map(|(fault, count)| format!("{count} {fault}")).collect::<Vec<_>>().join(", "));
    Ok(())
}
