//! System calls that fail, and bad networks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::launch::FAULTS;
use crate::peer::Sockets;
use crate::scenario::{Log, Network, Scenario, Storm};

use super::mixture::{MIXED, mixed};
use super::slow::all_back;

/// Faults that cost no connection a byte. Every call takes long under strace.
const fn harmless(name: &'static str, story: &'static str, inject: &'static [&'static str]) -> Scenario {
    Scenario { name, story, inject, latencies: Scenario::SLOWLY, storm: injected, ..Scenario::PLAIN }
}

/// Faults that end the connection they hit, and no other.
const fn harmful(name: &'static str, story: &'static str, inject: &'static [&'static str]) -> Scenario {
    Scenario { cuts_off: true, ..harmless(name, story, inject) }
}

const SMALL: Network = Network {
    name: "packets of 600 bytes, buffers of a page",
    commands: &[
        "ip link set lo mtu 600 up",
        "sysctl -qw 'net.ipv4.tcp_wmem=4096 4096 4096' 'net.ipv4.tcp_rmem=4096 4096 4096'",
    ],
};

/// Delay, jitter, loss, duplicates and disorder. The queue is long, because the sender learns of a packet that a full
/// queue refuses.
const NETEM: Network = Network {
    name: "netem",
    commands: &[
        "ip link set lo up",
        "tc qdisc add dev lo root netem limit 100000 delay 10ms 4ms loss 1% duplicate 1% reorder 5%",
    ],
};

/// The same without netem, but for jitter and duplicates. Of every 32 packets of a connection two in a row are lost, so
/// that what is sent again is lost too, and two take a slower way. Packets are chosen by five bits of their IP
/// Identification (RFC 791). Those that open a connection (SYN in TCP's flags, RFC 9293, behind a header of 20 bytes) are
/// spared, because connecting keeps all other guests waiting.
///
/// The sender must not learn of a loss, and from a full queue of its own it would. Linux then forgets the request whose
/// SYN-ACK it repeats, and resets a peer that already counts itself as connected (reqsk_timer_handler in
/// net/ipv4/inet_connection_sock.c). A blackhole reports nothing (net/sched/sch_blackhole.c).
const HTB: Network = Network {
    name: "htb",
    commands: &[
        "ip link set lo mtu 1500 gso_max_segs 1 up",
        "tc qdisc add dev lo root handle 1: htb",
        "tc class add dev lo parent 1: classid 1:1 htb rate 1gbit",
        "tc qdisc add dev lo parent 1:1 blackhole",
        "tc class add dev lo parent 1: classid 1:2 htb rate 20mbit",
        // The sixth and seventh of 32, and the tenth and eleventh. u32 has no names for these fields.
        "tc filter add dev lo parent 1: protocol ip u32 match u16 0x0006 0x001e at 4 match u8 0x00 0x02 at 33 flowid 1:1",
        "tc filter add dev lo parent 1: protocol ip u32 match u16 0x000a 0x001e at 4 match u8 0x00 0x02 at 33 flowid 1:2",
    ],
};

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
        "sends and receives find the system without memory (ENOBUFS, ENOMEM)",
        &["sendto:error=ENOBUFS:when=5+20", "recvfrom:error=ENOMEM:when=5+25"],
    ),
    harmless(
        "sockets-full",
        "sends find the socket full (EAGAIN) though an event said that it has room",
        &["sendto:error=EAGAIN:when=2+3"],
    ),
    harmless(
        "accept-fails",
        "accept finds connections that have gone already (ECONNABORTED)",
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
            "a filter of system calls forbids accept for a while (EPERM), and the server does not spin",
            &["accept4:error=EPERM:when=24..40"],
        )
    },
    harmless("watches-exhausted", "the queue has no room for watches (ENOSPC)", &["epoll_ctl:error=ENOSPC:when=30+11"]),
    harmless(
        "no-memory-to-watch",
        "the queue has no memory for watches (ENOMEM)",
        &["epoll_ctl:error=ENOMEM:when=30+11"],
    ),
    harmful("watch-fails", "sockets cannot be watched", &["epoll_ctl:error=EPERM:when=30+11"]),
    harmful(
        "peers-reset",
        "receives and sends find resets and broken pipes",
        &["recvfrom:error=ECONNRESET:when=20+50", "sendto:error=EPIPE:when=25+50"],
    ),
    Scenario {
        log: Log::File,
        ..harmless(
            "log-calls-fail",
            "writes of the log find no space now and then (ENOSPC)",
            &["write:error=ENOSPC:when=3+5"],
        )
    },
    Scenario {
        name: "small-network",
        story: "a network with packets of 600 bytes and socket buffers of a page on both sides",
        network: &[SMALL],
        latencies: Scenario::SLOWLY,
        storm: faults,
        ..Scenario::PLAIN
    },
    Scenario {
        name: "bad-network",
        story: "a network with loss, delay and disorder, and where there is netem with jitter and duplicates",
        // A reset is sent once. If it is lost, only the timeout ends the connection. --verbose makes the server report
        // why a connection failed.
        arguments: &["--idle-timeout", "10s", "--verbose"],
        network: &[NETEM, HTB],
        latencies: Scenario::SLOWLY,
        storm: lossy,
        ..Scenario::PLAIN
    },
];

/// Connections that wait while accept fails cost no processor time, and are served when it is allowed again.
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
    storm.report(format!("{served} peers served"));
    report_faults(storm)
}

fn faults(storm: &mut Storm<'_>) -> Result<()> {
    guests(storm, MIXED)
}

/// Without tiny sockets, which take minutes where packets are lost. When packets out of order have taken a few bytes of a
/// window, Linux does not send less than a segment into it but waits for the persist timer. Every packet of a peer that is
/// still sending starts the timer anew (tcp_ack_probe in net/ipv4/tcp_input.c).
fn lossy(storm: &mut Storm<'_>) -> Result<()> {
    let before = sent_again()?;
    guests(storm, &[Sockets::Usual])?;
    let sent_again = sent_again()? - before;
    ensure!(sent_again > 0, "this network loses no packet");
    storm.report(format!("{sent_again} segments sent again"));
    Ok(())
}

/// The number of TCP segments that were sent again in this thread's network (RetransSegs, proc_net_snmp in
/// proc_pid_net(5)).
fn sent_again() -> Result<u64> {
    let snmp = std::fs::read_to_string("/proc/thread-self/net/snmp").context("cannot read TCP's counters")?;
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, numbers) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let found = names.split(' ').zip(numbers.split(' ')).find(|(name, _)| *name == "RetransSegs");
    Ok(found.context("TCP's counters have no RetransSegs")?.1.parse()?)
}

fn guests(storm: &mut Storm<'_>, sockets: &[Sockets]) -> Result<()> {
    let mixture = mixed(storm, storm.number(60, 30), sockets, |_| Ok(()))?;
    storm.report(mixture.to_string());
    Ok(())
}

fn injected(storm: &mut Storm<'_>) -> Result<()> {
    faults(storm)?;
    report_faults(storm)
}

/// Reports how many faults were injected, and demands that every one was.
fn report_faults(storm: &mut Storm<'_>) -> Result<()> {
    // Reads of signals fail too. The server must still take every one of these.
    for _ in 0..20 {
        storm.server.connections()?;
    }
    let path = storm.folder.join(FAULTS);
    let trace = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for line in trace.lines().filter(|line| line.ends_with("(INJECTED)")) {
        // 4711 sendto(9, …) = -1 ENOBUFS (No buffer space available) (INJECTED)
        let call = line.split_once('(').and_then(|(call, _)| call.split_whitespace().next_back()).unwrap_or_default();
        let error =
            line.rsplit_once(" = -1 ").and_then(|(_, error)| error.split_whitespace().next()).unwrap_or_default();
        *counts.entry(format!("{call} {error}")).or_default() += 1;
    }
    for fault in storm.scenario.inject {
        let (calls, rest) = fault.split_once(":error=").context("a fault has an error")?;
        let (error, _) = rest.split_once(':').context("a fault says when it happens")?;
        // A question mark marks a call that some systems do not have.
        let mut calls = calls.split(',').map(|call| call.trim_start_matches('?'));
        let hit = calls.any(|call| counts.contains_key(&format!("{call} {error}")));
        ensure!(hit, "{fault} was never injected: {counts:?}");
    }
    storm.report(counts.iter().map(|(fault, count)| format!("{count} {fault}")).collect::<Vec<_>>().join(", "));
    Ok(())
}
