//! The faults of a listener or of all of them, and the numbers of the connections and datagrams that may have them.

use parrot_conn::fault::FaultPlan;

use crate::statistics::Counter;

/// A plan of faults, and how many connections and datagrams have asked it.
///
/// All sockets that share it count together. So the first three connections of a listener on IPv4 and IPv6 are three.
#[derive(Debug)]
pub struct PlannedFaults {
    pub(crate) plan: FaultPlan,
    connections: Counter,
    datagrams: Counter,
}

impl PlannedFaults {
    /// These faults, before the first connection.
    pub fn new(plan: FaultPlan) -> PlannedFaults {
        PlannedFaults { plan, connections: Counter::default(), datagrams: Counter::default() }
    }

    /// The number of the connection that arrives now. Only the loop's thread may call this.
    pub(crate) fn next_connection(&self) -> u64 {
        self.connections.add(1);
        self.connections.get()
    }

    /// The number of the datagram that is answered now. Only the loop's thread may call this.
    pub(crate) fn next_datagram(&self) -> u64 {
        self.datagrams.add(1);
        self.datagrams.get()
    }
}
