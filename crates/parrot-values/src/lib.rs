//! The values that Parrot's programs read from a command line: durations, sizes, counts and addresses.
//!
//! Each function reads the text alone, so its error is wrong usage and shows the right form. Whether an interface is there
//! can change, so [`Address::at`] asks the system for it afterwards.

mod address;
mod quantity;

pub use address::{Address, NoInterface, address};
pub use quantity::{count, duration, size};
