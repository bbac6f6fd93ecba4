//! What the loop counts, and the snapshot that others see.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parrot_conn::CloseReason;

/// A number that one thread raises and any thread reads.
///
/// Only the loop writes, so a plain load and store serve in place of a locked addition.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`; from the loop's thread only.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The number as last seen.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// The loop's own counters, shared with its handles.
        #[derive(Debug, Default)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)+
            /// Connections closed, by reason.
            pub closed: [Counter; CloseReason::ALL.len()],
        }

        /// What a server has done so far: a snapshot of its counters, each taken by itself. Shown, it is one line that
        /// leaves out the troubles that there were none of.
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
            closed: [u64; CloseReason::ALL.len()],
        }

        impl Counters {
            /// All counters as they stand.
            #[expect(clippy::indexing_slicing, reason = "the two arrays are of one length")]
            pub fn snapshot(&self) -> Statistics {
                // Closed first: a connection that opens and ends meanwhile cannot make more closed than accepted.
                let closed: [u64; CloseReason::ALL.len()] = std::array::from_fn(|i| self.closed[i].get());
                let accepted = self.accepted.get();
                Statistics {
                    connections: accepted.saturating_sub(closed.iter().sum()),
                    $($name: self.$name.get(),)+
                    closed,
                }
            }
        }
    };
}

counters! {
    /// Connections accepted and served, ever.
    accepted,
    /// Connections accepted above the limit of connections, and closed at once.
    refused,
    /// Accepted connections that could not be set up, because the peer had gone or the system failed.
    set_up_failures,
    /// Times that accept failed for another reason than a lack of resources, above all because the peer had gone.
    accept_failures,
    /// Times that accepting had to pause because descriptors or memory ran out.
    accept_pauses,
    /// Messages received: receive calls that returned bytes.
    messages,
    /// Bytes received.
    bytes_in,
    /// Bytes sent.
    bytes_out,
    /// Bytes received in a drain after the write side was shut down, and so not sent back.
    bytes_discarded,
    /// Times that a socket could not be served for want of the system's memory, and was tried again later.
    retries,
    /// Turns of the loop: waits that returned.
    turns,
}

impl Counters {
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
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Statistics { connections, accepted, refused, messages, bytes_in, bytes_out, .. } = self;
        write!(f, "{connections} connections open, {accepted} accepted, {refused} refused; ")?;
        write!(f, "{messages} messages, {bytes_in} bytes in, {bytes_out} bytes out")?;
        let closed = CloseReason::ALL.map(|reason| (reason.as_str(), self.closed(reason)));
        let troubles = [
            ("not set up", self.set_up_failures),
            ("accept failures", self.accept_failures),
            ("accept pauses", self.accept_pauses),
            ("retries", self.retries),
            ("bytes discarded in the drain", self.bytes_discarded),
        ];
        for (name, count) in closed.into_iter().chain(troubles).filter(|(_, count)| *count > 0) {
            write!(f, "; {count} {name}")?;
        }
        Ok(())
    }
}
