//! Peers that have said all they have to say, and do not listen.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::peer::{PATIENCE, Sockets};
use crate::scenario::{Scenario, Storm};

use super::slow::finished_all_back;

pub(super) const ALL: &[Scenario] = &[Scenario {
    name: "half-closed",
    story: "half-closed peers by the thousand that read nothing: the server uses no processor for them",
    // Each holds a buffer of 128 KiB, and nobody is to wait for one here.
    arguments: &["--max-buffered", "1GiB"],
    storm: half_closed,
    ..Scenario::PLAIN
}];

/// What each sends: more than the sockets between the server and a peer with tiny ones hold, and less than these and the
/// server's buffer of 128 KiB.
fn half() -> usize {
    if !cfg!(target_os = "macos") {
        return 100 * 1024;
    }
    // Segments are not small there, and the server's socket takes what is its default: tcp_sendspace in
    // bsd/netinet/tcp_usrreq.c of XNU, which the system may have been told otherwise.
    let told = Command::new("sysctl").args(["-n", "net.inet.tcp.sendspace"]).output().ok();
    let told = told.and_then(|output| String::from_utf8_lossy(&output.stdout).trim().parse::<usize>().ok());
    told.unwrap_or(1448 * 256) + 64 * 1024
}

fn half_closed(storm: &mut Storm<'_>) -> Result<()> {
    let half = half();
    // With what a socket takes on macOS, thousands would need more memory than the system has for sockets.
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
            "for {PATIENCE:?} the server took no more of the {half} bytes of each peer"
        );
    }
    // The last bytes and ends are on their way to the server.
    thread::sleep(Duration::from_millis(300));
    let waiting = storm.server.connections()?;
    storm.server_rests()?;
    while storm.goes_on() {
        thread::sleep(Duration::from_millis(20));
    }
    let last = storm.server.connections()?;
    ensure!(
        last == (peers.len() + storm.healthy_peers) as u64,
        "half-closed peers were given up: {waiting}, then {last}"
    );
    storm.tell(format!("{} half-closed peers with {half} bytes each", peers.len()));
    let others = peers.split_off(peers.len() / 2);
    for peer in others {
        peer.reset()?;
    }
    finished_all_back(peers)
}
