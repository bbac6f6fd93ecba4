//! The pages over real sockets, about servers that run in the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod clients;
mod health;
mod metrics;
mod requests;
mod statistics;
mod support;
