//! What the loop counts, and the snapshot that others see.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parrot_conn::fault::FaultKind;
use parrot_conn::{CloseReason, Refusal};

use crate::durations::{DurationCounter, Durations};
use crate::listen::Listening;

/// The target of the event that answers SIGUSR1 (and SIGINFO on the systems that have it).
pub const STATISTICS_TARGET: &str = "parrot::statistics";

/// A number that one thread changes and any thread reads.
///
/// Only the loop writes, so a plain load and store do what would otherwise need an atomic addition.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the loop's thread may call this.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Replaces the number. Only the loop's thread may call this.
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The current number.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// The loop's counters, which its handles can read.
        #[derive(Debug, Default)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)+
            /// Connections closed, by reason.
            pub closed: [Counter; CloseReason::ALL.len()],
            /// Datagrams that were not answered, by reason.
            pub refused_datagrams: [Counter; Refusal::ALL.len()],
            /// Connections and datagrams with a fault, by its kind.
            pub faults: [Counter; FaultKind::ALL.len()],
            /// How long each turn took, without its wait.
            pub turn_times: DurationCounter,
            /// How late deadlines were met.
            pub lateness: DurationCounter,
        }

        /// What a server has done so far: a snapshot of its counters, each read by itself. `Display` prints one line,
        /// which leaves out errors that have not happened.
        ///
        /// ```
        /// use parrot_server::{CloseReason, Statistics};
        ///
        /// let statistics = Statistics::default();
        /// assert_eq!(statistics.closed(CloseReason::Reset), 0);
        /// let line = "0 connections open, 0 accepted, 0 refused; 0 messages, 0 bytes in, 0 bytes out";
        /// assert_eq!(statistics.to_string(), line);
        /// ```
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Statistics {
            /// Connections open now.
            pub connections: u64,
            $($(#[$doc])* pub $name: u64,)+
            /// How long each turn took, without its wait. Empty unless the server
            /// [times its turns](crate::Server::time_turns).
            pub turn_times: Durations,
            /// How late the loop was with what was due, such as an idle timeout or a retry: the time from the earliest
            /// deadline that a turn has met to the end of that turn. Empty unless the server
            /// [times its turns](crate::Server::time_turns).
            pub lateness: Durations,
            closed: [u64; CloseReason::ALL.len()],
            refused_datagrams: [u64; Refusal::ALL.len()],
            faults: [u64; FaultKind::ALL.len()],
        }

        impl Counters {
            /// All counters as they are now.
            #[expect(clippy::indexing_slicing, reason = "the arrays have the same lengths")]
            pub fn snapshot(&self) -> Statistics {
                // Closed connections are read first, so that one that opens and ends meanwhile cannot make more closed
                // than accepted.
                let closed: [u64; CloseReason::ALL.len()] = std::array::from_fn(|i| self.closed[i].get());
                let accepted = self.accepted.get();
                Statistics {
                    connections: accepted.saturating_sub(closed.iter().sum()),
                    $($name: self.$name.get(),)+
                    turn_times: self.turn_times.snapshot(),
                    lateness: self.lateness.snapshot(),
                    closed,
                    refused_datagrams: std::array::from_fn(|i| self.refused_datagrams[i].get()),
                    faults: std::array::from_fn(|i| self.faults[i].get()),
                }
            }
        }
    };
}

counters! {
    /// Connections accepted and served since the start.
    accepted,
    /// Connections above the limit, which were accepted and closed at once.
    refused,
    /// Connections closed at once because their peer may not send a PROXY header.
    untrusted,
    /// Accepted connections that could not be set up, because the peer had gone or a system call failed.
    set_up_failures,
    /// Times that accept failed for another reason than resources running out, mostly because the peer had gone.
    accept_failures,
    /// Times that accepting paused because descriptors or memory ran out.
    accept_pauses,
    /// Messages received: receive calls that returned bytes, and datagrams that the rules permit.
    messages,
    /// Bytes received.
    bytes_in,
    /// Bytes sent.
    bytes_out,
    /// Bytes that were received and not sent back: in a drain after the write side was shut down, and because of faults.
    bytes_discarded,
    /// Datagrams sent back.
    datagrams_sent,
    /// Datagrams that were dropped on their way out, because the system did not take the reply.
    datagrams_dropped_out,
    /// Datagrams that the system has dropped on their way in, where it counts them (Linux).
    datagrams_dropped_in,
    /// Times that datagrams could not be received for another reason than that there were none.
    datagram_failures,
    /// Times that the system had no memory to serve a connection, which was then tried again later.
    retries,
    /// Turns of the loop.
    turns,
    /// Memory in bytes that connections hold now for what they have yet to send.
    buffered_bytes,
    /// Memory in bytes that connections may hold at a time. At this limit, further ones wait.
    buffered_bytes_limit,
}

/// A listener or UDP socket of a server, and what it has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerStatistics {
    /// Where it listens.
    pub listening: Listening,
    /// How many connections it has accepted and served. `None` for a UDP socket, which has no connections.
    pub accepted: Option<u64>,
}

impl Counters {
    pub(crate) fn fault(&self, kind: FaultKind) {
        if let Some(counter) = self.faults.get(kind as usize) {
            counter.add(1);
        }
    }

    pub(crate) fn refused_datagram(&self, refusal: Refusal) {
        if let Some(counter) = self.refused_datagrams.get(refusal as usize) {
            counter.add(1);
        }
    }

    pub(crate) fn closed(&self, reason: CloseReason) {
        if let Some(counter) = self.closed.get(reason as usize) {
            counter.add(1);
        }
    }
}

impl Statistics {
    /// Connections that ended for this reason.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.closed.get(reason as usize).copied().unwrap_or_default()
    }

    /// Connections and datagrams with a fault of this kind. One with several faults counts for each of them.
    pub fn faults(&self, kind: FaultKind) -> u64 {
        self.faults.get(kind as usize).copied().unwrap_or_default()
    }

    /// Datagrams that were not answered for this reason.
    pub fn refused_datagrams(&self, refusal: Refusal) -> u64 {
        self.refused_datagrams.get(refusal as usize).copied().unwrap_or_default()
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Statistics { connections, accepted, refused, messages, bytes_in, bytes_out, .. } = self;
        write!(f, "{connections} connections open, {accepted} accepted, {refused} refused; ")?;
        write!(f, "{messages} messages, {bytes_in} bytes in, {bytes_out} bytes out")?;
        let closed = CloseReason::ALL.map(|reason| (reason.as_str(), self.closed(reason)));
        let errors = [
            ("not permitted to send a PROXY header", self.untrusted),
            ("not set up", self.set_up_failures),
            ("accept failures", self.accept_failures),
            ("accept pauses", self.accept_pauses),
            ("retries", self.retries),
            ("bytes discarded", self.bytes_discarded),
            ("datagrams sent", self.datagrams_sent),
            ("datagrams dropped on their way out", self.datagrams_dropped_out),
            ("datagrams dropped on their way in", self.datagrams_dropped_in),
            ("failed to receive datagrams", self.datagram_failures),
        ];
        for (name, count) in closed.into_iter().chain(errors).filter(|(_, count)| *count > 0) {
            write!(f, "; {count} {name}")?;
        }
        let refusals = Refusal::ALL.map(|refusal| (refusal, self.refused_datagrams(refusal)));
        for (refusal, count) in refusals.into_iter().filter(|(_, count)| *count > 0) {
            write!(f, "; {count} datagrams refused ({refusal})")?;
        }
        for kind in FaultKind::ALL {
            match self.faults(kind) {
                0 => {}
                // These are neither accepted nor refused for their number.
                count if kind == FaultKind::Refuse => write!(f, "; {count} reset at once by fault {kind}")?,
                count => write!(f, "; {count} with fault {kind}")?,
            }
        }
        Ok(())
    }
}
