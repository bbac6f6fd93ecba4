//! Too many connections, or too few descriptors for them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::figures::time;
use crate::peer::Sockets;
use crate::scenario::{Scenario, Storm, WAITING};

/// A lost reset is never sent again, and FreeBSD's loopback loses those of a burst that do not fit into its queue
/// (netisr(9), net.isr.defaultqlimit). The idle timeout ends those connections.
const DESPITE_LOST_RESETS: &[&str] = &["--idle-timeout", "10s"];

const fn few_descriptors(name: &'static str, limit: u32) -> Scenario {
    Scenario {
        name,
        story: "four times as many connections as descriptors at once, and each is served in turn",
        arguments: DESPITE_LOST_RESETS,
        descriptors: Some(limit),
        storm: crowd,
        ..Scenario::PLAIN
    }
}

pub(super) const ALL: &[Scenario] = &[
    few_descriptors("descriptors-16", 16),
    few_descriptors("descriptors-20", 20),
    few_descriptors("descriptors-64", 64),
    few_descriptors("descriptors-1024", 1024),
    Scenario {
        name: "reset-waves",
        story: "connections opened and reset in waves, 10,000 at a time where descriptors allow",
        arguments: DESPITE_LOST_RESETS,
        storm: reset_waves,
        ..Scenario::PLAIN
    },
    Scenario {
        name: "connection-limit",
        story: "twice as many connections as --max-connections allows, and the second half is closed at once",
        arguments: &["--max-connections", "50"],
        storm: above_the_limit,
        ..Scenario::PLAIN
    },
];

fn crowd(storm: &mut Storm<'_>) -> Result<()> {
    let limit = storm.scenario.descriptors.unwrap_or(1024) as usize;
    let count = storm.number(limit * 4, (limit * 4).min(256)).min(limit + WAITING);
    // Silent peers, more than there are descriptors for. Those that cannot be accepted cost no processor time.
    let silent = storm.flock(storm.number(limit * 2, limit * 2).min(limit + WAITING), Sockets::Usual)?;
    storm.server_rests()?;
    ensure!(storm.server.stderr().contains("cannot accept"), "the server had descriptors for all");
    for peer in silent {
        peer.reset()?;
    }
    let (mut rounds, mut longest) = (0, Duration::ZERO);
    while storm.goes_on() || rounds == 0 {
        let mut peers = storm.flock(count, Sockets::Usual)?;
        for peer in &mut peers {
            let size = 1 + storm.random.below(2000);
            peer.send_all(size)?;
        }
        let start = Instant::now();
        // In the order in which they came, because each that leaves makes room for one that waits.
        for (number, mut peer) in peers.into_iter().enumerate() {
            peer.receive_all().with_context(|| format!("connection {number} of {count} is not served"))?;
            // An orderly end would hold a port for a minute (TIME_WAIT), and there are fewer ports than peers.
            peer.reset()?;
        }
        longest = longest.max(start.elapsed());
        rounds += 1;
    }
    storm.report(format!("{rounds} crowds of {count} for {limit} descriptors, each served within {}", time(longest)));
    Ok(())
}

fn reset_waves(storm: &mut Storm<'_>) -> Result<()> {
    let count = storm.number(10_000, 500);
    let mut waves = 0;
    while storm.goes_on() || waves == 0 {
        let mut peers = storm.flock(count, Sockets::Usual)?;
        for peer in &mut peers {
            let size = storm.random.below(3000);
            peer.push(size)?;
        }
        for peer in peers {
            peer.reset()?;
        }
        waves += 1;
    }
    storm.report(format!("{waves} waves of {count} resets"));
    Ok(())
}

/// The --max-connections of connection-limit.
const LIMIT: u64 = 50;

fn above_the_limit(storm: &mut Storm<'_>) -> Result<()> {
    let (mut served, mut refused) = (0, 0);
    while storm.goes_on() || served == 0 {
        let peers = storm.flock(100, Sockets::Usual)?;
        storm.server.wait_for_connections(LIMIT)?;
        for mut peer in peers {
            match peer.echo(100) {
                Ok(()) => served += 1,
                Err(trouble) if trouble.is_cut_off() => refused += 1,
                Err(trouble) => return Err(trouble.into()),
            }
        }
        // The places of these are free for the next round.
        storm.server.wait_for_connections(storm.scenario.healthy_peers() as u64)?;
    }
    ensure!(refused > 0, "no connection was refused");
    storm.report(format!("{served} served, {refused} refused"));
    Ok(())
}
