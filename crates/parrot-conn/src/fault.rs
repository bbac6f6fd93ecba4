//! Faults on request, for people who test clients and proxies against a server that misbehaves.
//!
//! A [`FaultPlan`] holds the faults that a listener was asked for, and a seed. The seed and the number of a connection
//! choose which of them it has, so a failure is repeated by its seed. The plan refuses faults that contradict each
//! other.
//!
//! # How a caller uses it
//!
//! | when | it asks | and gets |
//! |---|---|---|
//! | a connection arrives | [`FaultPlan::arrival`] | whether to reset it, and how long to wait before accepting it |
//! | it was accepted | [`FaultPlan::connection`] | its [`Faults`], or `None` for a plain connection |
//! | before it sends or receives | [`Faults::permit`] | what may leave, what to do with input, when to ask again |
//! | a datagram was received | [`FaultPlan::datagram`] | its [`Fate`]: how many copies, how late, which bit is wrong |
//! | an answer is late | [`Held::hold`] | the answer back when it is due, or at once if there is no room |
//!
//! A plain connection has no `Faults`, so it runs no code of this module.
//!
//! # Time, bytes and memory
//!
//! Nothing here reads a clock. A time is a [`Duration`](std::time::Duration) since the connection was accepted, and an
//! argument. So tests and simulations run in virtual time.
//!
//! Nothing here holds bytes of a connection. They stay in its own buffer until a permit lets them leave, and a full
//! buffer stops the input. So `latency` and `bandwidth` also slow down a peer that sends more, as a network with a
//! small window does. Only datagrams have to be kept elsewhere, and [`Held`] bounds what they take.
//!
//! # How a connection ends
//!
//! [`Permit::ending`] says when to shut the write side down, when to close and when to reset. This also holds for the
//! end that the peer asks for, because `slow-close` delays it. After an orderly end the input is read and discarded for
//! up to five seconds, because closing a socket with unread input would send an RST.

mod bandwidth;
mod conflict;
mod datagram;
mod ends;
mod held;
mod kind;
mod latency;
mod plan;
mod random;
mod share;
mod slices;
mod stall;
mod stream;
mod text;

pub use conflict::FaultConflict;
pub use datagram::Fate;
pub use ends::Ending;
pub use held::{Held, REORDER_WAIT};
pub use kind::{After, Fault, FaultKind, FaultRule};
pub use plan::{Arrival, FaultPlan};
pub use share::{Chances, Share};
pub use stream::{Faults, Input, Permit};
