//! Healthy peers beside the storm. They echo, check every byte and measure the time.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use parrot_testkit::stream::Random;

use crate::figures::{size, time};
use crate::peer::{Peer, Sockets, Trouble};

/// A pause between two messages, so that the server is measured and not the work of these peers.
const PAUSE: Duration = Duration::from_millis(1);

/// Peers that run on threads of their own.
pub(crate) struct Healthy {
    orders: Arc<Orders>,
    threads: Vec<JoinHandle<Result<Report, Trouble>>>,
}

#[derive(Debug, Default)]
struct Orders {
    stop: AtomicBool,
    /// Send nothing for a while.
    quiet: AtomicBool,
    /// A connection may be cut off, because the server ends or its system calls fail.
    may_be_cut_off: AtomicBool,
    /// Connect again after being cut off.
    reconnect: bool,
}

/// How the healthy peers fared.
#[derive(Debug, Default)]
pub(crate) struct Report {
    bytes: u64,
    cut_off: u64,
    /// The times from the first byte sent to the last byte received, in ascending order.
    latencies: Vec<Duration>,
}

impl Report {
    pub(crate) fn echoes(&self) -> usize {
        self.latencies.len()
    }

    /// The latency that `per_mille` of all echoes did not exceed.
    pub(crate) fn latency(&self, per_mille: usize) -> Duration {
        let index = (self.latencies.len() * per_mille / 1000).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(index).copied().unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, most, worst] = [500, 990, 1000].map(|per_mille| time(self.latency(per_mille)));
        write!(f, "{} healthy echoes, {}, ", self.echoes(), size(self.bytes))?;
        write!(f, "median {median}, 99 % {most}, worst {worst}")?;
        if self.cut_off > 0 {
            write!(f, "; {} healthy peers cut off", self.cut_off)?;
        }
        Ok(())
    }
}

impl Healthy {
    /// Connects `count` peers, waits for the first echo of each, and lets them go on.
    pub(crate) fn start(address: SocketAddr, count: usize, reconnect: bool) -> Result<Healthy> {
        let orders = Arc::new(Orders { reconnect, ..Orders::default() });
        orders.may_be_cut_off.store(reconnect, Relaxed);
        let mut threads = Vec::new();
        for number in 0..count {
            let mut peer = Peer::connect(address, Sockets::Usual).context("a healthy peer cannot connect")?;
            match peer.echo(100) {
                Err(trouble) if !(reconnect && trouble.is_cut_off()) => {
                    return Err(trouble).context("a healthy peer was not served at the start");
                }
                _ => {}
            }
            let orders = Arc::clone(&orders);
            threads.push(thread::spawn(move || orders.follow(address, peer, number as u64)));
        }
        Ok(Healthy { orders, threads })
    }

    /// Calls `work` while no healthy peer sends anything.
    pub(crate) fn quietly<T>(&self, work: impl FnOnce() -> T) -> T {
        self.orders.quiet.store(true, Relaxed);
        // Enough for messages under way if the machine is not busy. A late one costs the server next to nothing.
        thread::sleep(Duration::from_millis(100));
        let result = work();
        self.orders.quiet.store(false, Relaxed);
        result
    }

    /// Allows connections to be cut off from now on, at any byte, as long as all bytes before it were right.
    pub(crate) fn expect_the_end(&self) {
        self.orders.may_be_cut_off.store(true, Relaxed);
    }

    /// Waits for the last echoes and returns the report.
    pub(crate) fn stop(self) -> Result<Report> {
        self.orders.stop.store(true, Relaxed);
        let mut all = Report::default();
        for thread in self.threads {
            let report = thread.join().map_err(|_| anyhow!("a healthy peer's thread panicked"))?;
            let report = report.context("a healthy peer was not served well")?;
            all.bytes += report.bytes;
            all.cut_off += report.cut_off;
            all.latencies.extend(report.latencies);
        }
        all.latencies.sort_unstable();
        Ok(all)
    }
}

impl Orders {
    fn follow(&self, address: SocketAddr, mut peer: Peer, seed: u64) -> Result<Report, Trouble> {
        let mut random = Random::new(seed);
        let mut report = Report::default();
        while !self.stop.load(Relaxed) {
            thread::sleep(PAUSE);
            if self.quiet.load(Relaxed) {
                continue;
            }
            let most = if random.once_in(16) { 64 * 1024 } else { 512 };
            let start = Instant::now();
            let Err(trouble) = peer.echo(1 + random.below(most)) else {
                report.latencies.push(start.elapsed());
                continue;
            };
            if !(trouble.is_cut_off() && self.may_be_cut_off.load(Relaxed)) {
                return Err(trouble);
            }
            report.cut_off += 1;
            report.bytes += peer.received();
            if !self.reconnect {
                return Ok(report);
            }
            match Peer::connect(address, Sockets::Usual) {
                Ok(next) => peer = next,
                // The server has ended.
                Err(trouble) if trouble.is_cut_off() => return Ok(report),
                Err(trouble) => return Err(trouble),
            }
        }
        report.bytes += peer.received();
        match peer.finish().and_then(|()| peer.receive_to_the_end()) {
            Err(trouble) if !(trouble.is_cut_off() && self.may_be_cut_off.load(Relaxed)) => Err(trouble),
            _ => Ok(report),
        }
    }
}
