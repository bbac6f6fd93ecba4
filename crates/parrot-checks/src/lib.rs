//! What must hold of any input, for tests and fuzz targets.
//!
//! The targets in `fuzz` feed new inputs to these checks, and the tests of this crate replay `fuzz/corpus`. A check
//! panics if its input breaks what must hold.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clf;
pub mod connection;
mod datagram;
pub mod faults;
mod proxy_header;
mod rate_limit;
mod template;

pub use clf::{check_log_lines, decoded};
pub use datagram::{check_datagram, check_rules};
pub use proxy_header::{Outcome, check_proxy_header, read_header};
pub use rate_limit::{Request, check_rate_limit, check_requests};
pub use template::{Values, check_identity, check_template, check_text};
