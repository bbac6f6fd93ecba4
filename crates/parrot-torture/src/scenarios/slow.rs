//! Slow peers, tiny buffers and a server that is stopped now and then.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use parrot_testkit::PATIENCE;
use rustix::process::Signal;

use crate::figures::size;
use crate::peer::{Peer, Pulled, Sockets, Trouble};
use crate::scenario::{Scenario, Storm};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "slow-readers",
        story: "hundreds of peers that send all they can and read a trickle",
        storm: slow_readers,
        ..Scenario::PLAIN
    },
    Scenario {
        name: "tiny-buffers",
        story: "streams through the smallest socket buffers and segments that the system grants",
        storm: tiny_buffers,
        ..Scenario::PLAIN
    },
    Scenario {
        name: "one-byte",
        story: "hundreds of peers that send one byte at a time",
        storm: one_byte,
        ..Scenario::PLAIN
    },
    Scenario {
        name: "buffer-cap",
        story: "ten times as many streams as --max-buffered has buffers for",
        arguments: &["--max-buffered", "1MiB"],
        // Peers wait for a buffer here, as the cap intends.
        latencies: Scenario::SLOWLY,
        growth: Some(4 << 20),
        storm: tiny_buffers,
        ..Scenario::PLAIN
    },
    Scenario {
        name: "stopped",
        story: "SIGSTOP and SIGCONT over and over, while streams and new peers wait",
        storm: stopped,
        ..Scenario::PLAIN
    },
];

/// More than the server's buffer and the sockets on both sides hold of one stream, on any system with its defaults.
/// Linux lets a send buffer grow to 4 MiB and a receive buffer to 6 MiB (tcp(7), tcp_wmem, tcp_rmem).
const HELD: u64 = 32 << 20;

fn slow_readers(storm: &mut Storm<'_>) -> Result<()> {
    let mut peers = storm.flock(storm.number(300, 100), Sockets::Tiny)?;
    while storm.goes_on() {
        for peer in &mut peers {
            while peer.push(16 * 1024)? > 0 {
                ensure!(
                    peer.outstanding() < HELD,
                    "{} are on the way to a peer that reads a trickle",
                    size(peer.outstanding())
                );
            }
            peer.pull(64)?;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let held: u64 = peers.iter().map(Peer::outstanding).sum();
    storm.report(format!("{} slow readers with {} on the way", peers.len(), size(held)));
    all_back(peers)
}

fn tiny_buffers(storm: &mut Storm<'_>) -> Result<()> {
    let mut peers = storm.flock(storm.number(100, 80), Sockets::Tiny)?;
    while storm.goes_on() {
        for peer in &mut peers {
            let most = 1 + storm.random.below(16 * 1024);
            peer.push(most)?;
            peer.pull(1 + storm.random.below(16 * 1024))?;
        }
    }
    storm.report(format!("{} through {} tiny sockets", size(peers.iter().map(Peer::received).sum()), peers.len()));
    all_back(peers)
}

fn one_byte(storm: &mut Storm<'_>) -> Result<()> {
    let mut peers = storm.flock(storm.number(500, 100), Sockets::Usual)?;
    while storm.goes_on() {
        for peer in &mut peers {
            peer.push(1)?;
        }
        for peer in &mut peers {
            peer.pull(16)?;
        }
    }
    storm.report(format!("{} single bytes of {} peers", peers.iter().map(Peer::received).sum::<u64>(), peers.len()));
    all_back(peers)
}

fn stopped(storm: &mut Storm<'_>) -> Result<()> {
    let mut peers = storm.flock(storm.number(50, 20), Sockets::Usual)?;
    let mut stops = 0;
    while storm.goes_on() {
        storm.server.signal(Signal::STOP)?;
        let newcomers = while_stopped(storm, &mut peers);
        // In any case, because a stopped server does not take SIGTERM.
        storm.server.signal(Signal::CONT)?;
        for mut newcomer in newcomers? {
            newcomer.echo(100)?;
        }
        for peer in &mut peers {
            while matches!(peer.pull(16 * 1024)?, Pulled::Bytes(_)) {}
        }
        thread::sleep(Duration::from_millis(300));
        stops += 1;
    }
    storm.report(format!("{stops} stops, {} echoed", size(peers.iter().map(Peer::received).sum())));
    all_back(peers)
}

/// Exchanges bytes with these peers for a while, and connects new ones.
fn while_stopped(storm: &mut Storm<'_>, peers: &mut [Peer]) -> Result<Vec<Peer>, Trouble> {
    let stop = Duration::from_millis(20 + storm.random.below(80) as u64);
    let start = Instant::now();
    let mut newcomers = Vec::new();
    while start.elapsed() < stop {
        for peer in &mut *peers {
            peer.push(4096)?;
            peer.pull(4096)?;
        }
        newcomers.push(storm.connect(Sockets::Usual)?);
        thread::sleep(Duration::from_millis(2));
    }
    Ok(newcomers)
}

/// Waits until all bytes have come back, and then the end of each stream.
pub(super) fn all_back(peers: Vec<Peer>) -> Result<()> {
    // All at once. One by one, with a second for each, the last would finish late.
    for peer in &peers {
        peer.finish()?;
    }
    finished_all_back(peers)
}

/// The same for peers that have finished. They must not do so twice, because FreeBSD takes the second time as a sign
/// that the peer does not want to receive either (`tcp_usrclosed` in sys/netinet/tcp_usrreq.c, FIN_WAIT_2).
pub(super) fn finished_all_back(mut peers: Vec<Peer>) -> Result<()> {
    let start = Instant::now();
    while peers.iter().any(|peer| peer.outstanding() > 0) && start.elapsed() < PATIENCE {
        let mut idle = true;
        for peer in &mut peers {
            match peer.pull(16 * 1024)? {
                Pulled::End if peer.outstanding() > 0 => return Err(Trouble::Ended.into()),
                Pulled::Bytes(_) => idle = false,
                Pulled::End | Pulled::Nothing => {}
            }
        }
        if idle {
            thread::sleep(Duration::from_millis(1));
        }
    }
    for peer in peers {
        peer.receive_to_the_end()?;
    }
    Ok(())
}
