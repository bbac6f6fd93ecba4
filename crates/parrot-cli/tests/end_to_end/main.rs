//! The binary over real sockets, with one file for each topic and `support` for what they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod activation;
#[cfg(feature = "admin")]
mod admin;
#[cfg(feature = "admin")]
mod browser;
mod command_line;
mod config_file;
mod descriptors;
mod drain;
mod echo;
mod faults;
mod half_close;
mod idle;
mod ipv6;
#[cfg(target_os = "linux")]
mod keepalive;
mod limits;
#[cfg(target_os = "linux")]
mod linux;
mod log;
mod log_trouble;
mod many_connections;
mod memory;
mod packaging;
#[cfg(feature = "admin")]
mod prometheus;
mod proxy;
mod ready_file;
mod reload;
mod reset;
mod reuse_port;
mod service_manager;
mod signals;
mod slow_readers;
mod support;
mod tools;
#[cfg(target_os = "linux")]
mod traced;
mod udp;
mod unix;
#[cfg(feature = "admin")]
mod webdriver;
