//! What must hold of any input, for tests and fuzz targets.
//!
//! The targets in `fuzz` feed new inputs to these checks, and the tests of this crate replay `fuzz/corpus`. A check
//! panics if its input breaks what must hold.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clf;
pub mod connection;
mod proxy_header;
mod template;

pub use clf::{check_log_lines, decoded};
pub use proxy_header::{Outcome, check_proxy_header, read_header};
pub use template::{Values, check_identity, check_template, check_text};
