//! The values that Parrot's programs read from a command line: durations, sizes, counts, addresses, networks,
//! endpoints and faults.
//!
//! Each function reads the text alone, so its error is wrong usage and shows the right form. Whether an interface is there
//! can change, so [`Address::at`] and [`Host::addresses`] ask the system for it afterwards.

mod address;
mod endpoint;
mod fault;
mod network;
mod quantity;

pub use address::{Address, NoInterface, address};
pub use endpoint::{Endpoint, Host, UnixPlace, endpoint, listener};
pub use fault::fault;
pub use network::network;
pub use quantity::{count, duration, size};
