//! Thousands of connections at once.

use std::net::TcpStream;

use crate::support::{Parrot, data, echo, raise_descriptor_limit, skip};

const CONNECTIONS: usize = 5000;

/// Fewer than the smallest limit of a backlog (128) lets wait: above it FreeBSD resets (`rst_on_sock_fail` of
/// syncache(4)), should the server not get its turn of the processor meanwhile.
const AT_ONCE: usize = 100;

/// What a connection without a byte pending costs: its slot, its entry in the queue's table and its share of what tables
/// keep for growing.
#[cfg(target_os = "linux")]
const BYTES_EACH: usize = 160;

/// KiB for buffers that were in use, a page each, and for the pages that the system counts late.
#[cfg(target_os = "linux")]
const SLACK: u64 = 256;

#[test]
fn five_thousand_connections_are_served_and_take_little_memory() {
    if !raise_descriptor_limit(CONNECTIONS as u64 + 1000) {
        return skip("the limit of descriptors is too low for 5,000 connections in one process");
    }
    let parrot = Parrot::start(&[]);
    echo(&parrot.connect(), b"warm");
    #[cfg(target_os = "linux")]
    let before = parrot.status("VmRSS");

    let mut streams: Vec<TcpStream> = Vec::new();
    while streams.len() < CONNECTIONS {
        let known = streams.len();
        streams.extend((0..AT_ONCE).map(|_| parrot.connect()));
        for (stream, message) in streams.iter().zip(data().chunks(12)).skip(known) {
            echo(stream, message);
        }
    }
    // Backwards, so that no connection depends on the order in which they came.
    for (stream, message) in streams.iter().zip(data().chunks(1000)).rev() {
        echo(stream, message);
    }

    #[cfg(target_os = "linux")]
    {
        let grown = parrot.status("VmRSS").saturating_sub(before);
        let most = (CONNECTIONS * BYTES_EACH).div_ceil(1024) as u64 + SLACK;
        assert!(grown <= most, "{grown} KiB more for {CONNECTIONS} connections without a byte pending, not {most}");
    }
    drop(streams);
    let summary = parrot.stop();
    assert!(summary.contains("5001 accepted"), "{summary}");
}
