//! What happened, in the order of the loop's counters, which must say the same.

use parrot_server::simulation::Counters;
use parrot_server::{CloseReason, Refusal};

use crate::check::Promise;
use crate::host::SimulatedHost;

/// The values that the loop's counters should have.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) untrusted: u64,
    pub(crate) set_up_failures: u64,
    pub(crate) accept_failures: u64,
    pub(crate) accept_pauses: u64,
    pub(crate) messages: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) bytes_discarded: u64,
    pub(crate) datagrams_sent: u64,
    pub(crate) datagrams_dropped_out: u64,
    pub(crate) datagrams_dropped_in: u64,
    pub(crate) datagram_failures: u64,
    pub(crate) refused_datagrams: [u64; Refusal::ALL.len()],
    pub(crate) retries: u64,
    pub(crate) turns: u64,
    pub(crate) closed: [u64; CloseReason::ALL.len()],
}

impl SimulatedHost {
    pub(crate) fn check_counters(&mut self) {
        let counted = read(&self.shared.counters);
        if self.misbehaves() {
            // Only the faults say what is thrown away.
            self.tally.bytes_discarded = counted.bytes_discarded;
            self.tally.datagrams_dropped_out = counted.datagrams_dropped_out;
        }
        if counted != self.tally {
            let tally = self.tally.clone();
            self.broken(Promise::Counters, || format!("counted {counted:?}, happened {tally:?}"));
        }
    }
}

/// Reads the loop's counters as a tally.
fn read(counters: &Counters) -> Tally {
    Tally {
        accepted: counters.accepted.get(),
        refused: counters.refused.get(),
        untrusted: counters.untrusted.get(),
        set_up_failures: counters.set_up_failures.get(),
        accept_failures: counters.accept_failures.get(),
        accept_pauses: counters.accept_pauses.get(),
        messages: counters.messages.get(),
        bytes_in: counters.bytes_in.get(),
        bytes_out: counters.bytes_out.get(),
        bytes_discarded: counters.bytes_discarded.get(),
        datagrams_sent: counters.datagrams_sent.get(),
        datagrams_dropped_out: counters.datagrams_dropped_out.get(),
        datagrams_dropped_in: counters.datagrams_dropped_in.get(),
        datagram_failures: counters.datagram_failures.get(),
        refused_datagrams: std::array::from_fn(|index| counters.refused_datagrams[index].get()),
        retries: counters.retries.get(),
        turns: counters.turns.get(),
        closed: std::array::from_fn(|index| counters.closed[index].get()),
    }
}
