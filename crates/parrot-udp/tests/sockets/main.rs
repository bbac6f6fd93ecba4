//! Datagrams over real sockets: where they come from, where replies leave from, and what is lost on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod errors;
mod groups;
mod options;
mod replies;
mod support;
