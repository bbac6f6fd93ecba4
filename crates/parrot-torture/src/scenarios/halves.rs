//! Peers that have shut down their sending side and do not read.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use parrot_testkit::PATIENCE;

use crate::peer::Sockets;
use crate::scenario::{Scenario, Storm};

use super::slow::finished_all_back;

pub(super) const ALL: &[Scenario] = &[Scenario {
    name: "half-closed",
    story: "thousands of half-closed peers that read nothing and cost no processor time",
    // Each holds a buffer of 128 KiB, and no peer should wait for one here.
    arguments: &["--max-buffered", "1GiB"],
    storm: half_closed,
    ..Scenario::PLAIN
}];

/// How many bytes each peer sends. The sockets between the server and a peer with tiny buffers hold less, and together
/// with the server's buffer of 128 KiB they hold more.
fn half() -> usize {
    if !cfg!(target_os = "macos") {
        return 100 * 1024;
    }
    // Segments are not small on macOS, and the server's socket takes its default there: tcp_sendspace in
    // bsd/netinet/tcp_usrreq.c of XNU, unless the system is configured otherwise.
    let configured = Command::new("sysctl").args(["-n", "net.inet.tcp.sendspace"]).output().ok();
    let configured = configured.and_then(|output| String::from_utf8_lossy(&output.stdout).trim().parse::<usize>().ok());
    configured.unwrap_or(1448 * 256) + 64 * 1024
}

fn half_closed(storm: &mut Storm<'_>) -> Result<()> {
    let half = half();
    // A socket of macOS takes so much that thousands would need more memory than the system has for sockets.
    let many = if cfg!(target_os = "macos") { 200 } else { 3000 };
    let mut peers = storm.flock(storm.number(many, 200), Sockets::Tiny)?;
    let mut left: Vec<usize> = vec![half; peers.len()];
    let mut progress = Instant::now();
    while left.iter().any(|&left| left > 0) {
        for (peer, left) in peers.iter_mut().zip(&mut left).filter(|(_, left)| **left > 0) {
            let pushed = peer.push(*left)?;
            *left -= pushed;
            if pushed > 0 {
                progress = Instant::now();
            }
            if *left == 0 {
                peer.finish()?;
            }
        }
        ensure!(
            progress.elapsed() < PATIENCE,
            "the server took none of the {half} bytes of each peer for {PATIENCE:?}"
        );
    }
    // The last bytes and ends may still be on their way to the server.
    thread::sleep(Duration::from_millis(300));
    let waiting = storm.server.connections()?;
    storm.server_rests()?;
    while storm.goes_on() {
        thread::sleep(Duration::from_millis(20));
    }
    let last = storm.server.connections()?;
    ensure!(
        last == (peers.len() + storm.scenario.healthy_peers()) as u64,
        "half-closed peers were closed: {waiting} connections, then {last}"
    );
    storm.report(format!("{} half-closed peers with {half} bytes each", peers.len()));
    let others = peers.split_off(peers.len() / 2);
    for peer in others {
        peer.reset()?;
    }
    finished_all_back(peers)
}
