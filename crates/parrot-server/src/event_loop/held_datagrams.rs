//! Answers to datagrams with faults: lost, doubled, wrong or late ones. Only these outlive a turn.

use std::net::SocketAddr;
use std::time::Duration;

use parrot_conn::fault::{Fate, FaultKind, Held};
use parrot_udp::{Batch, Destination, Replied};

use super::means::Means;
use super::moment::Moment;
use crate::faults::PlannedFaults;
use crate::host::Host;

/// The most memory in bytes that the late answers of a socket take. Further ones are dropped.
const MOST_BYTES: usize = 1024 * 1024;

/// The longest payload of a datagram (RFC 768). A prefix can make an answer longer.
const LONGEST: usize = 65_535 - 8;

/// The answers of a UDP socket with faults, until they are due.
#[derive(Debug)]
pub(super) struct HeldDatagrams {
    held: Held<Answer>,
    /// For those that are due.
    batch: Batch,
}

#[derive(Debug)]
struct Answer {
    source: SocketAddr,
    destination: Option<Destination>,
    payload: Vec<u8>,
}

/// The time that all answers are held by.
fn time(now: Moment) -> Duration {
    now.saturating_duration_since(Moment::default())
}

impl HeldDatagrams {
    pub(super) fn new() -> HeldDatagrams {
        HeldDatagrams { held: Held::new(MOST_BYTES), batch: Batch::new() }
    }

    /// Takes over the answers in a batch, so that the batch is left with none.
    pub(super) fn take<H>(&mut self, batch: &mut Batch, faults: &PlannedFaults, means: &Means<H>) {
        for mut datagram in batch.iter_mut() {
            let received = datagram.get();
            if received.is_refused() {
                continue;
            }
            let fate = faults.plan.datagram(faults.next_datagram());
            count(fate, means);
            // A second copy leaves as soon as it can.
            for copy in (0..fate.copies).rev() {
                let mut payload = received.payload().to_vec();
                fate.corrupt(&mut payload);
                let (source, destination, size) = (received.source(), received.destination(), payload.len());
                let fate = if copy == 0 { fate } else { Fate { reordered: false, ..fate } };
                if size > LONGEST
                    || self.held.hold(Answer { source, destination, payload }, size, fate, time(means.now)).is_err()
                {
                    means.counters().datagrams_dropped_out.add(1);
                }
            }
            datagram.refuse();
        }
    }

    /// Sends the answers that are due.
    pub(super) fn send_due<H: Host>(&mut self, socket: &mut H::DatagramSocket, means: &mut Means<H>) {
        loop {
            self.batch.clear();
            while self.batch.len() < Batch::CAPACITY
                && let Some(Answer { source, destination, payload }) = self.held.pop(time(means.now))
            {
                // It fits, because it came from a batch.
                let _ = self.batch.push(source, destination, &payload);
            }
            if self.batch.is_empty() {
                return;
            }
            let Replied { sent, bytes, dropped } = means.host.reply_datagrams(socket, &self.batch);
            let counters = means.counters();
            counters.bytes_out.add(bytes);
            counters.datagrams_sent.add(sent as u64);
            counters.datagrams_dropped_out.add(dropped as u64);
        }
    }

    /// When the next answer is due.
    pub(super) fn next(&self) -> Option<Moment> {
        self.held.next().and_then(|due| Moment::default().checked_add(due))
    }

    /// Drops the answers that are left.
    pub(super) fn drop_all<H>(&mut self, means: &Means<H>) {
        while self.held.pop(Duration::MAX).is_some() {
            means.counters().datagrams_dropped_out.add(1);
        }
    }
}

fn count<H>(fate: Fate, means: &Means<H>) {
    for (kind, happens) in [
        (FaultKind::Loss, fate.copies == 0),
        (FaultKind::Duplicate, fate.copies > 1),
        (FaultKind::Reorder, fate.reordered),
        (FaultKind::Corrupt, fate.is_corrupted()),
        (FaultKind::Latency, !fate.delay.is_zero()),
    ] {
        if happens {
            means.counters().fault(kind);
        }
    }
}
