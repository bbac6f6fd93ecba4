//! The UDP sockets, their senders, and the checks of what is answered.

mod addresses;
mod calls;
mod checks;
mod faults;
mod plan;
mod rate;
mod state;
mod world;

pub use calls::DatagramSocket;
pub(crate) use plan::UdpPlan;
pub(crate) use state::{Socket, Udp};

/// The most datagrams that the loop receives at a time.
pub(crate) const BATCH: usize = parrot_udp::Batch::CAPACITY;
/// The longest payload of a datagram over IPv4.
pub(crate) const LONGEST: u64 = 65_507;
